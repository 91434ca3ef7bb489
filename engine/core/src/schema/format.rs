//! The formats that ochre adds to JSON Schema's own.

use jsonschema::ValidationOptions;

use crate::selector;

/// One of ochre's formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    LabelSelector,
    Duration,
    DnsSubdomain,
    DnsLabel,
}

impl Format {
    pub(super) const ALL: [Self; 4] =
        [Self::LabelSelector, Self::Duration, Self::DnsSubdomain, Self::DnsLabel];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LabelSelector => "label-selector",
            Self::Duration => "duration",
            Self::DnsSubdomain => "dns-1123-subdomain",
            Self::DnsLabel => "dns-1123-label",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// Says why a text does not have the format, if it has not.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::LabelSelector => match selector::parse(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("is not a label selector: {error}")),
            },
            Self::Duration => match parse_duration(text) {
                Ok(_) => Ok(()),
                Err(reason) => Err(format!("is not a duration: {reason}")),
            },
            Self::DnsSubdomain if selector::is_dns_subdomain(text) => Ok(()),
            Self::DnsLabel if selector::is_dns_label(text) => Ok(()),
            Self::DnsSubdomain => Err(
                "is not a DNS name: lower-case letters, digits, `-` and `.`, a letter or digit at both ends of each part, at most 253 characters".to_owned(),
            ),
            Self::DnsLabel => Err(
                "is not a DNS label: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63 characters".to_owned(),
            ),
        }
    }
}

/// Parses a positive duration in Go's syntax.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let example = "write it as 90s, 15m or 4h30m";
    if text.is_empty() {
        return Err(format!("it is empty; {example}"));
    }
    // The parser multiplies without looking: what it could not hold must not reach it.
    if text.len() > 32 || text.contains(['e', 'E', 'i', 'N', '_']) {
        return Err(example.to_owned());
    }
    let longest_number = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
    if longest_number.unwrap_or(0) > 12 {
        return Err(format!("it is too long; {example}"));
    }
    let inner = text.get(1..).unwrap_or_default();
    if inner.contains(['-', '+']) {
        return Err(example.to_owned());
    }
    match text.parse::<kube::core::Duration>() {
        Ok(duration) if duration.is_negative() => Err("it is negative".to_owned()),
        Ok(duration) => match std::time::Duration::from(duration) {
            std::time::Duration::ZERO => Err(format!("it is zero; {example}")),
            // Go counts nanoseconds in 64 bits: what it cannot read would stop Velero for everybody.
            duration if i64::try_from(duration.as_nanos()).is_err() => {
                Err(format!("it is too long; {example}"))
            }
            duration => Ok(duration),
        },
        Err(_) => Err(example.to_owned()),
    }
}

pub(super) fn with_formats(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    Format::ALL.into_iter().fold(options, |options, format| {
        options.with_format(format.as_str(), move |text: &str| format.check(text).is_ok())
    })
}
