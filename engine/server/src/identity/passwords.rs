//! Names and passwords, from a file that keeps only their hashes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bcrypt::HashParts;
use ochre_core::action::UserInfo;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::remembered::Remembered;
use super::{AUTHENTICATED, IdentityError, SetupError};

/// How costly a hash may be: with this, a password takes about a second.
const MAX_COST: u32 = 14;
/// How many passwords are tried at a time.
const AT_ONCE: usize = 2;
/// How long somebody waits for that.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a right password is remembered: the file is read once, so it stays right.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Everybody who has a password.
pub(super) struct Passwords {
    people: HashMap<String, Person>,
    /// Tried for whoever is not there, so that it takes as long as for anybody else.
    decoy: String,
    trying: Arc<Semaphore>,
    right: Remembered<[u8; 32], UserInfo>,
}

struct Person {
    hash: String,
    groups: Vec<String>,
}

impl Passwords {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, SetupError> {
        let unfit = |why: String| SetupError::File { file: file.to_owned(), why };
        let text = std::fs::read_to_string(file).map_err(|error| unfit(error.to_string()))?;
        Self::parse(&text).map_err(unfit)
    }

    /// Reads lines `name:hash` and `name:hash:group,group`; others are blank or begin with `#`.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut people, mut decoy) = (HashMap::new(), None);
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let (name, rest) = line.split_once(':').unwrap_or((line, ""));
            let (hash, groups) = rest.split_once(':').unwrap_or((rest, ""));
            let cost = hash.parse::<HashParts>().map(|parts| parts.get_cost());
            let cost = cost
                .map_err(|_| wrong("it is no `name:hash` with a hash of bcrypt, as htpasswd -B makes it"))?;
            if cost > MAX_COST {
                return Err(wrong(&format!("the hash costs {cost}, and at most {MAX_COST} are taken")));
            }
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let groups = groups.chain([AUTHENTICATED]).map(str::to_owned).collect();
            let person = Person { hash: hash.to_owned(), groups };
            if name.is_empty() || people.insert(name.to_owned(), person).is_some() {
                return Err(wrong("the name is empty, or is there twice"));
            }
            decoy = decoy.max(Some((cost, hash.to_owned())));
        }
        let (_, decoy) = decoy.ok_or("it names nobody")?;
        Ok(Self { people, decoy, trying: Arc::new(Semaphore::new(AT_ONCE)), right: Remembered::default() })
    }

    /// Says who it is that has a name and a password, joined by a colon.
    pub(super) async fn person(&self, credentials: &str) -> Result<UserInfo, IdentityError> {
        let key: [u8; 32] = Sha256::digest(credentials).into();
        if let Some(known) = self.right.get(&key) {
            return Ok(known);
        }
        let tries = timeout(PATIENCE, Arc::clone(&self.trying).acquire_owned()).await;
        let tries = tries.ok().and_then(Result::ok).ok_or(IdentityError::Busy)?;
        // The same may have been tried meanwhile.
        if let Some(known) = self.right.get(&key) {
            return Ok(known);
        }
        let (name, password) = credentials.split_once(':').ok_or(IdentityError::Password)?;
        let person = self.people.get(name);
        let hash = person.map_or(&self.decoy, |person| &person.hash).clone();
        let password = password.to_owned();
        let is_right = spawn_blocking(move || {
            // As long as it takes, whether or not somebody still waits for it.
            let _tries = tries;
            bcrypt::non_truncating_verify(password, &hash)
        });
        let is_right = matches!(is_right.await, Ok(Ok(true)));
        let person = person.filter(|_| is_right).ok_or(IdentityError::Password)?;
        let person = UserInfo { username: name.to_owned(), groups: person.groups.clone(), extra: None };
        self.right.put(key, person.clone(), KEPT);
        Ok(person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, quickly.
    const HASH: &str = "$2y$04$PG35Sn3FDOv39LC3zygHuOabp9/S7qKbo3JXD7qsHfuDBTTcHFWLW";

    /// Compares what is said of a file.
    fn check(text: &str, wanted: Result<usize, &str>) {
        let read = Passwords::parse(&text.replace("HASH", HASH)).map(|read| read.people.len());
        assert_eq!(read, wanted.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        check("# people\n\nalice:HASH\nbob:HASH:team, others\n", Ok(2));
        check("", Err("it names nobody"));
        let no_hash = "line 2: it is no `name:hash` with a hash of bcrypt, as htpasswd -B makes it";
        check("alice:HASH\nbob\n", Err(no_hash));
        check("alice:HASH\nbob:secret\n", Err(no_hash));
        check("alice:HASH\nbob:$apr1$aaaa$bbbb\n", Err(no_hash));
        check("alice:HASH\nalice:HASH\n", Err("line 2: the name is empty, or is there twice"));
        check(":HASH\n", Err("line 1: the name is empty, or is there twice"));
        let costly = HASH.replace("$04$", "$15$");
        check(&format!("alice:{costly}"), Err("line 1: the hash costs 15, and at most 14 are taken"));
    }

    #[test]
    fn whoever_is_not_there_costs_as_much_as_the_costliest() {
        let costly = HASH.replace("$04$", "$12$");
        let read = Passwords::parse(&format!("a:{HASH}\nb:{costly}\nc:{HASH}\n")).unwrap();
        assert_eq!(read.decoy, costly);
    }
}
