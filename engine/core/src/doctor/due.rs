//! When a schedule is due.

use cronexpr::{FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::{SignedDuration, Timestamp};

use crate::schema::parse_duration;

/// What a time zone can shift a time by.
const ANY_ZONE: SignedDuration = SignedDuration::from_hours(14);

/// When a schedule is due after a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The first time.
    pub(super) first: Timestamp,
    /// The one after that.
    pub(super) second: Timestamp,
    /// How much later both may be.
    pub(super) blur: SignedDuration,
}

/// Reads an expression as Velero does: five fields, `@every 6h`, `@daily` and its like, each with an
/// optional `CRON_TZ=` before it. Nothing for what has no such form.
pub(super) fn after(expression: &str, time: Timestamp) -> Option<Due> {
    let expression = expression.trim();
    // Rules of zones are a file, and it is enough to know that a time is not far off.
    let (blur, expression) = match expression.split_once(char::is_whitespace) {
        Some((zone, rest)) if zone.starts_with("CRON_TZ=") || zone.starts_with("TZ=") => {
            (ANY_ZONE, rest.trim())
        }
        _ => (SignedDuration::ZERO, expression),
    };
    if let Some(every) = expression.strip_prefix("@every ") {
        let every = SignedDuration::try_from(parse_duration(every.trim()).ok()?).ok()?;
        let first = time.checked_add(every).ok()?;
        return Some(Due { first, second: first.checked_add(every).ok()?, blur });
    }
    let fields = match expression {
        "@yearly" | "@annually" => "0 0 1 1 *".to_owned(),
        "@monthly" => "0 0 1 * *".to_owned(),
        "@weekly" => "0 0 * * 0".to_owned(),
        "@daily" | "@midnight" => "0 0 * * *".to_owned(),
        "@hourly" => "0 * * * *".to_owned(),
        // Go's parser knows this sign for any value.
        fields => fields.replace('?', "*"),
    };
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let crontab = parse_crontab_with(&fields, options).ok()?;
    let first = crontab.find_next(cronexpr::MakeTimestamp(time)).ok()?.timestamp();
    let second = crontab.find_next(cronexpr::MakeTimestamp(first)).ok()?.timestamp();
    Some(Due { first, second, blur })
}
