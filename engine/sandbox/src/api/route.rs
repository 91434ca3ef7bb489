//! Reads what a request asks for from its path, its query and its headers.

use http::HeaderMap;
use serde::Deserialize;

use super::failure::{Cause, Failure};
use super::protobuf;
use super::selector::Selector;
use super::table::RowObject;

/// Says what a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Version,
    Health,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1` or `/apis/<group>/<version>`
    Resources {
        group: String,
        version: String,
    },
    Resource(Target),
}

/// Names a resource, or one object of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// Holds the query parameters that the API knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Query {
    pub(crate) watch: Option<String>,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) limit: Option<String>,
    pub(crate) allow_watch_bookmarks: Option<String>,
    pub(crate) send_initial_events: Option<String>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) include_object: Option<String>,
    pub(crate) dry_run: Option<String>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) field_manager: Option<String>,
    pub(crate) force: Option<String>,
    pub(crate) field_validation: Option<String>,
}

/// Checks that a dry run is one of all stages.
pub(crate) fn check_dry_run<'a>(
    options: &'static str,
    mut stages: impl Iterator<Item = &'a String>,
) -> Result<(), Failure> {
    stages.find(|stage| *stage != "All").map_or(Ok(()), |stage| {
        let message = format!("Unsupported value: [{stage:?}]: supported values: \"All\"");
        Err(Failure::options(options, Cause::new("FieldValueNotSupported", "dryRun", message)))
    })
}

/// Says in what form objects are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Object,
    Metadata,
    Table(RowObject),
}

impl Route {
    /// Reads a path.
    pub(crate) fn parse(path: &str) -> Result<Self, Failure> {
        let decoded = path.replace("%3A", ":").replace("%3a", ":");
        let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            ["version"] => Ok(Self::Version),
            ["healthz" | "livez" | "readyz", ..] => Ok(Self::Health),
            ["api"] => Ok(Self::CoreVersions),
            ["apis"] => Ok(Self::Groups),
            ["apis", group] => Ok(Self::Group((*group).to_owned())),
            ["api", version] => Ok(Self::Resources { group: String::new(), version: (*version).to_owned() }),
            ["apis", group, version] => {
                Ok(Self::Resources { group: (*group).to_owned(), version: (*version).to_owned() })
            }
            ["api", version, rest @ ..] => Target::parse("", version, rest).map(Self::Resource),
            ["apis", group, version, rest @ ..] => Target::parse(group, version, rest).map(Self::Resource),
            _ => Err(Failure::NoRoute),
        }
    }
}

impl Target {
    fn parse(group: &str, version: &str, segments: &[&str]) -> Result<Self, Failure> {
        let owned = |text: &&str| Some((*text).to_owned());
        // `namespaces/x/status` is of the namespace itself; any other third segment is a resource within it.
        let (namespace, segments) = match segments {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
            {
                (owned(namespace), rest)
            }
            _ => (None, segments),
        };
        let (plural, name, subresource) = match segments {
            [plural] => (plural, None, None),
            [plural, name] => (plural, owned(name), None),
            [plural, name, subresource] => (plural, owned(name), owned(subresource)),
            _ => return Err(Failure::NoRoute),
        };
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: (*plural).to_owned(),
            namespace,
            name,
            subresource,
        })
    }
}

impl Query {
    /// Tells whether a flag is set; `1` and `true` both do.
    pub(crate) fn flag(value: Option<&String>) -> bool {
        value.is_some_and(|value| value == "true" || value == "1")
    }

    pub(crate) fn selector(&self) -> Result<Selector, Failure> {
        Selector::parse(&self.label_selector, &self.field_selector)
    }

    /// Reads the version to start after; nothing and zero both mean "whatever is now". Else says what is wrong.
    pub(crate) fn since(&self) -> Result<Option<u64>, String> {
        match self.resource_version.as_str() {
            "" | "0" => Ok(None),
            text => text.parse().map(Some).map_err(|error| {
                format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: {error}")
            }),
        }
    }

    /// Checks what a list must not ask for.
    pub(crate) fn check_list(&self) -> Result<(), Failure> {
        self.since()
            .map_err(|problem| Failure::BadRequest(format!("invalid resource version: {problem}")))?;
        let limit = self.limit.as_deref().filter(|limit| !limit.is_empty());
        match limit.map(str::parse::<i64>) {
            Some(Err(error)) => Err(Failure::BadRequest(format!("strconv.ParseInt: {error}"))),
            _ => Ok(()),
        }
    }

    /// Checks what a watch must not ask for.
    pub(crate) fn check_watch(&self) -> Result<Option<u64>, Failure> {
        if Self::flag(self.send_initial_events.as_ref()) && self.resource_version_match != "NotOlderThan" {
            let message =
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(Failure::options(
                "ListOptions",
                Cause::new("FieldValueForbidden", "resourceVersionMatch", message),
            ));
        }
        self.since().map_err(Failure::Unclassified)
    }
}

impl View {
    /// Reads the `Accept` header: its first form that the API can give.
    pub(crate) fn parse(headers: &HeaderMap, query: &Query) -> Result<Self, Failure> {
        let accept =
            headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        for form in accept.split(',') {
            let mut parts = form.split(';').map(str::trim);
            let readable =
                ["", "*/*", "application/*", "application/json", "application/yaml", protobuf::FORM];
            if !readable.contains(&parts.next().unwrap_or_default()) {
                continue;
            }
            match parts.find_map(|part| part.strip_prefix("as=")) {
                Some("Table") => {
                    return Ok(Self::Table(match query.include_object.as_deref() {
                        Some("Object") => RowObject::Object,
                        Some("None") => RowObject::None,
                        _ => RowObject::Metadata,
                    }));
                }
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Metadata),
                Some(_) => {}
                None => return Ok(Self::Object),
            }
        }
        Err(Failure::NotAcceptable)
    }
}
