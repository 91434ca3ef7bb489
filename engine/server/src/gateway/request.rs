//! A GraphQL request, as every transport brings it: read from JSON or a URL, then checked and made ready to run.

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType,
};
use async_graphql::{Name, Request, ServerError, Value as GraphqlValue, Variables};
use ochre_core::code::Code;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Map, Value};

use super::Asked;
use super::answer::error;
use super::documents::Documents;
use super::introspection::Introspects;
use super::json;
use super::measure::{self, Exceeded, Problem};
use super::refusal::Refusal;
use super::scan;
use crate::options::Limits;

/// What a client sends.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    query: Option<String>,
    /// The SHA-256 of a document, in place of its text or beside it.
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
    extensions: Option<Extensions>,
}

/// What else a client sends; what is not known may be there.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    persisted_query: Option<PersistedQuery>,
}

/// How Apollo's clients name a document.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistedQuery {
    sha256_hash: String,
}

impl Parameters {
    /// Reads the body of a POST.
    pub(super) fn from_body(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(Refusal::Batch);
        }
        scan::values(body, limits)?;
        let malformed = |error: serde_json::Error| Refusal::malformed("the body", &error);
        Self::from_json(json::read(body).map_err(malformed)?).map_err(malformed)
    }

    /// Reads the fields of a JSON object.
    pub(super) fn from_json(value: Value) -> serde_json::Result<Self> {
        // As an object first: an array would be taken for the fields in their order.
        let fields: Map<String, Value> = serde_json::from_value(value)?;
        let parameters: Self = serde_json::from_value(Value::Object(fields))?;
        if parameters.query.is_none() && parameters.id().is_none() {
            return Err(serde_json::Error::missing_field("query"));
        }
        Ok(parameters)
    }

    /// Names the document by its SHA-256, if the client does.
    fn id(&self) -> Option<&str> {
        let persisted = self.extensions.as_ref().and_then(|extensions| extensions.persisted_query.as_ref());
        self.document_id.as_deref().or_else(|| persisted.map(|persisted| persisted.sha256_hash.as_str()))
    }

    /// Reads the query of a URL, in which maps are JSON.
    pub(super) fn from_url(query: Option<&str>) -> Result<Self, Refusal> {
        const PLACE: &str = "the query of the URL";
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let value = match name.as_ref() {
                // Empty is what a form sends for what was not filled in.
                "variables" | "extensions" | "operationName" if value.is_empty() => Value::Null,
                "variables" | "extensions" => json::read(value.as_bytes())
                    .map_err(|error| Refusal::Malformed { place: PLACE, why: format!("{name}: {error}") })?,
                "query" | "documentId" | "operationName" => Value::String(value.into_owned()),
                _ => continue,
            };
            if fields.insert(name.to_string(), value).is_some() {
                return Err(Refusal::Malformed { place: PLACE, why: format!("{name} is given twice") });
            }
        }
        Self::from_json(Value::Object(fields)).map_err(|error| Refusal::malformed(PLACE, &error))
    }

    /// Parses the document and chooses the operation; whatever is wrong is the answer to the request.
    pub(super) fn prepare(mut self, limits: &Limits, documents: &Documents) -> Result<Prepared, ServerError> {
        let passes = |exceeded: Exceeded| error(Code::LimitExceeded, exceeded.to_string(), Vec::new());
        let named = self.operation_name.as_ref().map_or(0, String::len);
        Exceeded::check("name", named, limits.name).map_err(passes)?;
        let text = documents.find(self.query.take(), self.id())?;
        scan::check(&text, limits).map_err(passes)?;
        let variables = Variables::from_json(Value::Object(self.variables.unwrap_or_default()));
        let mut request = Request::new(text);
        request.operation_name = self.operation_name;
        if let Err(error) = request.parsed_query() {
            return Err(self::error(Code::GraphqlParseFailed, error.message, error.locations));
        }
        let name = request.operation_name.clone();
        let document = request.parsed_query()?;
        let introspects = measure::check(document, limits).map_err(|problem| match problem {
            Problem::Exceeded(exceeded) => passes(exceeded),
            Problem::Cycle(_) => error(Code::GraphqlValidationFailed, problem.to_string(), Vec::new()),
        })?;
        let (name, operation) = chosen(document, name.as_deref())?;
        check_variables(operation, &variables)?;
        let (name, kind) = (name.map(ToString::to_string), operation.ty);
        request = request.variables(variables);
        if introspects {
            request = request.data(Introspects);
        }
        Ok(Prepared { request, name, kind })
    }
}

/// A request that may run.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The request, with its document parsed.
    pub request: Request,
    /// What its operation is called.
    pub name: Option<String>,
    /// What its operation does.
    pub kind: OperationType,
}

impl Prepared {
    /// Adds what else is known of the request.
    pub(super) fn with(self, asked: Asked) -> Self {
        Self { request: self.request.data(asked), ..self }
    }
}

fn chosen<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Result<(Option<&'d Name>, &'d OperationDefinition), ServerError> {
    let wrong = |message: String| error(Code::BadUserInput, message, Vec::new());
    let found = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some((None, operation)),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), None) if operations.len() > 1 => {
            return Err(wrong("the document has several operations; name one in operationName".to_owned()));
        }
        (DocumentOperations::Multiple(operations), wanted) => operations
            .iter()
            .find(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str()))
            .map(|(name, operation)| (Some(name), operation)),
    };
    let missing = || wrong(format!("the document has no operation {}", name.unwrap_or_default()));
    found.map(|(name, operation)| (name, &operation.node)).ok_or_else(missing)
}

/// Sees that every variable is there that must be.
///
/// async-graphql would notice only where one is used, when other fields have run.
fn check_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), ServerError> {
    for definition in &operation.variable_definitions {
        let variable = &definition.node;
        let is_given = variables.get(&variable.name.node).is_some_and(|value| *value != GraphqlValue::Null);
        if !variable.var_type.node.nullable && variable.default_value.is_none() && !is_given {
            let message =
                format!("the variable ${}, {}, is missing", variable.name.node, variable.var_type.node);
            return Err(error(Code::BadUserInput, message, vec![definition.pos]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Requests of which nothing good comes, and nothing bad either.

    use proptest::prelude::*;

    use super::{Documents, Parameters};
    use crate::options::{Limits, Trust};

    /// Words of GraphQL in no order, so that parsers get far.
    fn document() -> impl Strategy<Value = String> {
        let words = vec![
            "query",
            "mutation",
            "subscription",
            "fragment",
            "on",
            "F",
            "a",
            "b:",
            "$v",
            ": Int!",
            "= 1",
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
            "...",
            "...F",
            "@skip(if: true)",
            "\"",
            "\"\"\"",
            "\\",
            "#",
            "\n",
            ",",
            "-1.5e3",
            "ü",
            "\u{feff}",
            "{ a { ...F } }",
            "fragment F on Q { a ...F }",
            "fragment G on Q { ...F }",
        ];
        prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn no_document_harms_the_one_who_reads_it(query in document(), name in prop::option::of("[AF]")) {
            let body = serde_json::json!({"query": query, "operationName": name}).to_string();
            if let Err(error) = Parameters::from_body(body.as_bytes(), &Limits::default()).unwrap().prepare(&Limits::default(), &Documents::open(None, Trust::Off).unwrap()) {
                let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
                prop_assert!(code.is_some(), "{error:?}");
            }
        }

        #[test]
        fn no_body_and_no_url_harms_the_one_who_reads_it(body in any::<Vec<u8>>(), query in any::<String>()) {
            prop_assert!(Parameters::from_body(&body, &Limits::default()).is_err());
            let _ = Parameters::from_url(Some(&query));
            let read = Parameters::from_url(Some(&format!("query={}", form_urlencoded::byte_serialize(query.as_bytes()).collect::<String>())));
            prop_assert_eq!(read.unwrap().query, Some(query), "what is sent is what is read");
        }
    }
}
