//! Wrong tokens and passwords, which nobody may try without end: each costs the cluster a question.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use super::IdentityError;
use super::remembered::Remembered;
use crate::rate::Rate;

/// Who has been wrong lately, by address.
pub(super) struct Guesses {
    wrong: Rate<IpAddr>,
    /// Who has been wrong too often, until that is forgotten.
    shut_out: Remembered<IpAddr, ()>,
}

impl Guesses {
    /// Begins with addresses of which nothing is known, each of which may be wrong so often in a second.
    pub(super) fn new(most: NonZeroU32) -> Self {
        Self { wrong: Rate::per_second(most), shut_out: Remembered::default() }
    }

    /// Lets an address try, unless it was wrong too often.
    pub(super) fn admit(&self, from: IpAddr) -> Result<(), IdentityError> {
        self.shut_out.get(&network(from)).map_or(Ok(()), |()| Err(IdentityError::Busy))
    }

    /// Hears that an address was wrong.
    pub(super) fn count(&self, from: IpAddr) {
        let from = network(from);
        if let Err(wait) = self.wrong.count(&from) {
            self.shut_out.put(from, (), wait);
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

    /// Tells whether one address may try after another was wrong twice, of the one time that it may.
    fn check(wrong: &str, other: &str, may: bool) {
        let guesses = Guesses::new(NonZeroU32::MIN);
        let wrong = wrong.parse().unwrap();
        assert!(guesses.admit(wrong).is_ok());
        guesses.count(wrong);
        assert!(guesses.admit(wrong).is_ok(), "once is nothing");
        guesses.count(wrong);
        assert_eq!(guesses.admit(other.parse().unwrap()).is_ok(), may, "{other} after {wrong}");
    }

    #[test]
    fn whoever_is_wrong_too_often_is_shut_out_and_nobody_else() {
        check("192.0.2.1", "192.0.2.1", false);
        check("192.0.2.1", "192.0.2.2", true);
        check("192.0.2.1", "::ffff:192.0.2.1", false);
        check("2001:db8::1", "2001:db8::2", false);
        check("2001:db8::1", "2001:db8:0:1::1", true);
    }
}
