//! Names and passwords, from a file that keeps only their hashes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// What a password is tried against beside its own hash, so that every name takes the same work.
    decoys: Decoys,
    trying: Arc<Semaphore>,
    right: Remembered<[u8; 32], UserInfo>,
}

struct Person {
    hash: String,
    cost: u32,
    groups: Vec<String>,
}

/// Hashes that nothing fits, one for every cost up to the highest of the file.
struct Decoys {
    /// Salt and digest, which are as long in every hash.
    rest: String,
    highest: u32,
}

impl Decoys {
    /// Makes up for a hash of some cost, or for none: a cost of n takes 2^n rounds, and so do all costs from n on.
    fn beside(&self, cost: Option<u32>) -> impl Iterator<Item = String> {
        let costs = match cost {
            Some(cost) => cost..self.highest,
            None => self.highest..self.highest + 1,
        };
        costs.map(|cost| format!("$2b${cost:02}${}", self.rest))
    }
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
        let (mut people, mut decoys) = (HashMap::new(), None::<Decoys>);
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
            let person = Person { hash: hash.to_owned(), cost, groups };
            if name.is_empty() || people.insert(name.to_owned(), person).is_some() {
                return Err(wrong("the name is empty, or is there twice"));
            }
            let rest = hash.rsplit('$').next().unwrap_or_default().to_owned();
            let highest = decoys.map_or(cost, |known| known.highest.max(cost));
            decoys = Some(Decoys { rest, highest });
        }
        let decoys = decoys.ok_or("it names nobody")?;
        Ok(Self { people, decoys, trying: Arc::new(Semaphore::new(AT_ONCE)), right: Remembered::default() })
    }

    /// Lists what the password of a name is tried against, its own hash first.
    fn trials(&self, name: &str) -> (Option<&Person>, Vec<String>) {
        let person = self.people.get(name);
        let own = person.map(|person| person.hash.clone());
        (person, own.into_iter().chain(self.decoys.beside(person.map(|person| person.cost))).collect())
    }

    /// Says who it is that has a name and a password, joined by a colon.
    pub(super) async fn person(&self, credentials: &str) -> Result<UserInfo, IdentityError> {
        let key: [u8; 32] = Sha256::digest(credentials).into();
        if let Some(known) = self.right.get(&key, Instant::now()) {
            return Ok(known);
        }
        let tries = timeout(PATIENCE, Arc::clone(&self.trying).acquire_owned()).await;
        let tries = tries.ok().and_then(Result::ok).ok_or(IdentityError::Busy)?;
        // The same may have been tried meanwhile.
        if let Some(known) = self.right.get(&key, Instant::now()) {
            return Ok(known);
        }
        let (name, password) = credentials.split_once(':').ok_or(IdentityError::Password)?;
        let (person, trials) = self.trials(name);
        let password = password.to_owned();
        let is_right = spawn_blocking(move || {
            // As long as it takes, whether or not somebody still waits for it.
            let _tries = tries;
            // All of them, whatever came of the first.
            let fits: Vec<_> =
                trials.iter().map(|hash| bcrypt::non_truncating_verify(&password, hash)).collect();
            matches!(fits.first(), Some(Ok(true)))
        });
        let is_right = is_right.await.unwrap_or(false);
        let person = person.filter(|_| is_right).ok_or(IdentityError::Password)?;
        let person = UserInfo { username: name.to_owned(), groups: person.groups.clone(), extra: None };
        self.right.put(key, person.clone(), KEPT, Instant::now());
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

    /// Sees that every name of a file takes the rounds of its highest cost, and so does one that is not in it.
    fn check_work(costs: &[u32]) {
        let name = |cost: &u32| format!("of-{cost}");
        let line = |cost: &u32| format!("{}:{}\n", name(cost), HASH.replace("$04$", &format!("${cost:02}$")));
        let read = Passwords::parse(&costs.iter().map(line).collect::<String>()).unwrap();
        let rounds: u64 = 1 << costs.iter().max().unwrap();
        for name in costs.iter().map(name).chain(["unknown".to_owned(), String::new()]) {
            let (_, trials) = read.trials(&name);
            let cost = |hash: &String| hash.parse::<HashParts>().unwrap().get_cost();
            let found: u64 = trials.iter().map(|hash| 1 << cost(hash)).sum();
            assert_eq!(found, rounds, "{name} of {costs:?}: {trials:?}");
        }
    }

    #[test]
    fn every_name_takes_the_same_work() {
        check_work(&[4]);
        check_work(&[10, 4, 12]);
        check_work(&[14, 5]);
        check_work(&[4, 5, 6]);
    }

    #[tokio::test]
    async fn a_password_is_right_by_its_own_hash_alone() {
        // The decoys are made of the last hash, which fits.
        let costly = "$2b$05$PG35Sn3FDOv39LC3zygHuOabp9/S7qKbo3JXD7qsHfuDBTTcHFWLW";
        let read = Passwords::parse(&format!("b:{costly}\na:{HASH}\n")).unwrap();
        for (credentials, is_right) in
            [("a:secret", true), ("a:Secret", false), ("b:secret", false), ("c:secret", false)]
        {
            assert_eq!(read.person(credentials).await.is_ok(), is_right, "{credentials}");
        }
    }
}
