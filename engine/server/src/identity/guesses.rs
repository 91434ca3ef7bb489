//! Wrong tokens and passwords, which no address may try without end: each costs the cluster a question.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::IdentityError;
use super::remembered::Remembered;
use crate::rate::Rate;

/// How long credentials that were right may be asked about again, whatever else comes from their address.
const TRUSTED: Duration = Duration::from_secs(60 * 60);

/// Who has been wrong lately, by address, and which credentials were right.
pub(super) struct Guesses {
    wrong: Rate<IpAddr>,
    /// Who has been wrong too often, until that is forgotten.
    shut_out: Remembered<IpAddr, ()>,
    /// The digests of credentials that are no guesses: those behind an address that is shut out still count.
    trusted: Remembered<[u8; 32], ()>,
}

impl Guesses {
    /// Begins with addresses of which nothing is known, each of which may be wrong so often in a second.
    pub(super) fn new(most: NonZeroU32) -> Self {
        Self {
            wrong: Rate::per_second(most),
            shut_out: Remembered::default(),
            trusted: Remembered::default(),
        }
    }

    /// Lets an address try credentials, unless it was wrong too often and they were never right.
    pub(super) fn admit(&self, from: IpAddr, key: &[u8; 32], now: Instant) -> Result<(), IdentityError> {
        let is_shut_out = self.shut_out.get(&network(from), now).is_some();
        if is_shut_out && self.trusted.get(key, now).is_none() { Err(IdentityError::Busy) } else { Ok(()) }
    }

    /// Hears that credentials were right.
    pub(super) fn trust(&self, key: [u8; 32], now: Instant) {
        self.trusted.put(key, (), TRUSTED, now);
    }

    /// Hears that credentials are wrong, and from which address they came.
    pub(super) fn count(&self, from: Option<IpAddr>, key: &[u8; 32], now: Instant) {
        // Tokens end. One that is asked about in vain is a guess from then on.
        self.trusted.forget(key);
        let Some(from) = from.map(network) else { return };
        if let Err(wait) = self.wrong.count(&from) {
            self.shut_out.put(from, (), wait, now);
        }
    }
}

/// Names what one client has to itself: an address, or the 2^64 of IPv6 that it may choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: [u8; 32] = [1; 32];
    const WRONG: [u8; 32] = [2; 32];

    /// Tells whether one address may try after another was wrong twice, of the one time that it may.
    fn check(wrong: &str, other: &str, may: bool) {
        let (guesses, now) = (Guesses::new(NonZeroU32::MIN), Instant::now());
        let wrong = wrong.parse().unwrap();
        assert!(guesses.admit(wrong, &WRONG, now).is_ok());
        guesses.count(Some(wrong), &WRONG, now);
        assert!(guesses.admit(wrong, &WRONG, now).is_ok(), "once is nothing");
        guesses.count(Some(wrong), &WRONG, now);
        assert_eq!(guesses.admit(other.parse().unwrap(), &WRONG, now).is_ok(), may, "{other} after {wrong}");
    }

    #[test]
    fn an_address_that_is_wrong_too_often_is_shut_out_and_no_other() {
        check("192.0.2.1", "192.0.2.1", false);
        check("192.0.2.1", "192.0.2.2", true);
        check("192.0.2.1", "::ffff:192.0.2.1", false);
        check("2001:db8::1", "2001:db8::2", false);
        check("2001:db8::1", "2001:db8:0:1::1", true);
    }

    #[test]
    fn credentials_that_were_right_are_tried_from_an_address_that_is_shut_out() {
        let (guesses, start) = (Guesses::new(NonZeroU32::MIN), Instant::now());
        let address = "192.0.2.1".parse().unwrap();
        guesses.trust(RIGHT, start);
        // However often it is wrong, and long after whatever else is remembered of them.
        for second in 0..=TRUSTED.as_secs() {
            let now = start + Duration::from_secs(second);
            guesses.shut_out.put(network(address), (), Duration::from_secs(1), now);
            assert!(guesses.admit(address, &WRONG, now).is_err(), "after {second} s");
            assert_eq!(
                guesses.admit(address, &RIGHT, now).is_ok(),
                second < TRUSTED.as_secs(),
                "after {second} s"
            );
        }
        guesses.trust(RIGHT, start);
        guesses.count(None, &RIGHT, start);
        guesses.shut_out.put(network(address), (), Duration::from_secs(1), start);
        assert!(guesses.admit(address, &RIGHT, start).is_err(), "once they are wrong they are a guess");
    }
}
