//! What a request is called: its own id, and the trace that it is a part of (W3C Trace Context).

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;
use tracing::field::Empty;
use uuid::Uuid;

use super::spans;

/// The header with a request's id, in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of W3C Trace Context, in and out.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The most characters of an id that is taken from a client.
const MAX_ID: usize = 128;

/// The names of a request.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    /// The request's own.
    pub request: Arc<str>,
    /// Where it stands in its trace.
    pub trace: Trace,
}

impl Ids {
    /// Takes the names that a request brings, and makes those that it lacks; opens the span of all that is logged
    /// meanwhile, however little that is, unless the request is one of many that say nothing new.
    pub(super) fn open(headers: &HeaderMap, is_quiet: bool) -> (Self, Span) {
        let given = only(headers, &REQUEST_ID).filter(|id| is_well_formed(id));
        let request: Arc<str> = given.map_or_else(|| Uuid::new_v4().to_string().into(), Arc::from);
        let brought = only(headers, &TRACEPARENT).and_then(Trace::parse);
        let mut trace = brought.map_or_else(Trace::begin, Trace::next);
        if is_quiet {
            return (Self { request, trace }, Span::none());
        }
        let (id, named) = (&*request, trace.id());
        let span = tracing::error_span!("request", request.id = id, trace.id = named, otel.kind = Empty);
        if let Some(joined) = spans::join(&span, brought) {
            trace = joined;
            span.record("trace.id", trace.id());
        }
        (Self { request, trace }, span)
    }

    /// Names an operation among those of one connection; what clients call it may be anything.
    pub(super) fn operation(&self, number: usize) -> Self {
        Self { request: format!("{}-{number}", self.request).into(), trace: self.trace.next() }
    }

    /// Writes them to an answer.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let values = [(REQUEST_ID, self.request.to_string()), (TRACEPARENT, self.trace.header())];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }

    /// Opens the span of an operation that outlives its request.
    pub(super) fn span(&self) -> Span {
        let (request, trace) = (&*self.request, self.trace.id());
        tracing::error_span!("operation", request.id = request, trace.id = trace)
    }
}

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// The trace's own name.
    pub id: u128,
    /// The name of the span in it.
    pub span: u64,
    /// Whether somebody wants it kept.
    pub is_sampled: bool,
}

impl Trace {
    /// Begins a trace; nobody has asked that it be kept.
    fn begin() -> Self {
        Self { id: Uuid::new_v4().as_u128(), span: span(), is_sampled: false }
    }

    /// Goes on with a trace, in a span of our own.
    fn next(self) -> Self {
        Self { span: span(), ..self }
    }

    /// Reads `traceparent`; later versions may have more behind what is known.
    fn parse(text: &str) -> Option<Self> {
        let (known, more) = text.split_at_checked(55)?;
        let mut parts = known.split('-');
        let version = hexadecimal(parts.next()?, 2)?;
        let id = hexadecimal(parts.next()?, 32)?;
        let span = hexadecimal(parts.next()?, 16)?;
        let flags = hexadecimal(parts.next()?, 2)?;
        let is_known = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let span = u64::try_from(span).ok()?;
        (is_known && parts.next().is_none() && id != 0 && span != 0).then_some(Self {
            id,
            span,
            is_sampled: flags & 1 == 1,
        })
    }

    /// Prints `traceparent`.
    fn header(self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.id, self.span, u8::from(self.is_sampled))
    }

    /// Prints the trace's id.
    pub(super) fn id(self) -> String {
        format!("{:032x}", self.id)
    }
}

/// Makes a span's id, which is never zero: a UUID's variant is in it.
fn span() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// Reads a number of so many digits, as the specification wants them: in lower case.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && is_lower).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Tells whether a client's id may be logged and sent back.
fn is_well_formed(id: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_safe)
}

/// Reads a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Compares how a request's `traceparent` goes on, but for the span.
    fn check(traceparent: &str, wanted: Option<(u128, bool)>) {
        let read = Trace::parse(traceparent).map(|trace| (trace.id, trace.is_sampled));
        assert_eq!(read, wanted, "{traceparent}");
    }

    #[test]
    fn traceparent_is_read_as_strictly_as_its_specification_says() {
        check("00-0000000000000000000000000000000f-00000000000000a1-01", Some((15, true)));
        check("00-0000000000000000000000000000000f-00000000000000a1-02", Some((15, false)));
        check("01-0000000000000000000000000000000f-00000000000000a1-01", Some((15, true)));
        check("01-0000000000000000000000000000000f-00000000000000a1-01-more", Some((15, true)));
        for wrong in [
            "",
            "00",
            "00-0000000000000000000000000000000f-00000000000000a1-01-more",
            "01-0000000000000000000000000000000f-00000000000000a1-01more",
            "ff-0000000000000000000000000000000f-00000000000000a1-01",
            "00-0000000000000000000000000000000F-00000000000000a1-01",
            "00-00000000000000000000000000000000-00000000000000a1-01",
            "00-0000000000000000000000000000000f-0000000000000000-01",
            "00-+000000000000000000000000000000f-00000000000000a1-01",
            "00-0000000000000000000000000000000f-00000000000000a1-0ü",
            "00-0000000000000000000000000000000f00000000000000a1--01",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn an_id_is_taken_when_it_is_safe_and_there_is_one() {
        for (ids, is_taken) in [
            (&["a-1"][..], true),
            (&["3f0c9c52-77a1-4b8e-a6c5-0a2c2cf0a1f4"], true),
            (&[&"x".repeat(128)], true),
            (&[&"x".repeat(129)], false),
            (&[""], false),
            (&["a b"], false),
            (&["a\"b"], false),
            (&["a", "b"], false),
            (&[], false),
        ] {
            let given = ids.iter().map(|id| (REQUEST_ID, HeaderValue::from_str(id).unwrap()));
            let id = Ids::open(&given.collect(), false).0.request;
            assert_eq!(ids.first().is_some_and(|first| **first == *id), is_taken, "{ids:?}");
            assert!(is_taken || Uuid::parse_str(&id).is_ok(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_back_can_be_read(id in 1_u128.., span in 1_u64.., is_sampled: bool) {
            let trace = Trace { id, span, is_sampled };
            prop_assert_eq!(Trace::parse(&trace.header()), Some(trace));
            let next = trace.next();
            prop_assert_eq!((next.id, next.is_sampled), (trace.id, trace.is_sampled));
            prop_assert_ne!(next.span, trace.span);
        }

        #[test]
        fn nothing_that_is_sent_harms_the_one_who_reads_it(text in "\\PC*") {
            prop_assert_eq!(Trace::parse(&text), None);
        }
    }
}
