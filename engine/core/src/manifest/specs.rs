//! Reads what only Interfaces, Implementations and Types say.

use super::document::{Content, Entry, Node, TextPlace};
use super::fields::Fields;
use super::kinds::Source;
use super::{Action, Kind, Parameter, ParameterSource, Reference};
use crate::hint::listed;

/// The one runner that Implementations may name.
const RUNNER: &str = "workflow.run";

/// The verbs that an Interface may ask of a TypeInstance.
const VERBS: [&str; 5] = ["get", "list", "create", "update", "delete"];

impl<'a> Source<'a> {
    /// Reads `jsonSchema: {value: …}`; the value may be a mapping or a text that holds one.
    pub(super) fn schema(&self, mut fields: Fields<'a>) -> Option<Node> {
        let value = fields.required("value");
        fields.finish();
        let value = value?;
        let Content::String(text) = &value.content else {
            return Some(value.clone());
        };
        let place = TextPlace::of(value, text, self.text);
        match Node::parse(text) {
            Ok(mut schema) => {
                schema.relocate(place);
                Some(schema)
            }
            Err((position, message)) => {
                let message = format!("the schema does not parse: {message}");
                self.reporter.error(place.resolve(position), message, None);
                None
            }
        }
    }

    pub(super) fn interface(
        &self,
        fields: &mut Fields<'a>,
        references: &mut Vec<Reference>,
    ) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if let Some(mut input) = fields.fields("input") {
            let entries = input.entries("parameters");
            if let Some(extra) = entries.get(1) {
                let message = "an Interface with more than one parameter is not supported yet";
                let hint = Some("make them properties of one".to_owned());
                self.reporter.error(extra.position, message, hint);
            }
            for entry in entries {
                parameters.extend(self.parameter(entry, references));
            }
            self.type_instances(&mut input, true, references);
            input.finish();
        }
        fields.optional("abstract");
        if let Some(mut output) = fields.optional_fields("output") {
            self.type_instances(&mut output, false, references);
            output.finish();
        } else {
            let hint = Some("write `output: {}`".to_owned());
            self.reporter.warning(fields.position(), "spec.output is missing", hint);
        }
        parameters
    }

    fn parameter(&self, entry: &'a Entry, references: &mut Vec<Reference>) -> Option<Parameter> {
        let name = format!("spec.input.parameters.{}", entry.key);
        let mut fields = Fields::of(&entry.value, &name, self.reporter)?;
        let schema = fields.optional_fields("jsonSchema");
        let type_ref = fields.optional("typeRef");
        let source = match (schema, type_ref) {
            (Some(schema), None) => self.schema(schema).map(ParameterSource::Inline),
            (None, Some(node)) => {
                self.reference(Kind::Type, node, &format!("{name}.typeRef")).map(ParameterSource::TypeRef)
            }
            _ => {
                let message = format!("{name} needs either a jsonSchema or a typeRef");
                self.reporter.error(entry.position, message, None);
                None
            }
        };
        fields.finish();
        if let Some(ParameterSource::TypeRef(reference)) = &source {
            references.push(reference.clone());
        }
        Some(Parameter { name: entry.key.clone(), source: source? })
    }

    fn type_instances(&self, fields: &mut Fields<'a>, verbs: bool, references: &mut Vec<Reference>) {
        for entry in fields.entries("typeInstances") {
            let name = format!("typeInstances.{}", entry.key);
            let Some(mut fields) = Fields::of(&entry.value, &name, self.reporter) else {
                continue;
            };
            if let Some(node) = fields.required("typeRef") {
                let name = format!("{name}.typeRef");
                references.extend(self.reference(Kind::Type, node, &name));
            }
            for verb in if verbs { fields.items("verbs") } else { &[] } {
                let Some(text) = self.string_item(verb, "verbs[]") else {
                    continue;
                };
                if !VERBS.contains(&text.as_str()) {
                    let hint = Some(format!("one of {}", listed(VERBS)));
                    self.reporter.error(verb.position, format!("`{text}` is not a verb"), hint);
                }
            }
            fields.finish();
        }
    }

    pub(super) fn implementation(&self, fields: &mut Fields<'a>, references: &mut Vec<Reference>) -> Action {
        fields.optional_text("appVersion");
        for unbuilt in ["additionalInput", "additionalOutput"] {
            if let Some(node) = fields.optional(unbuilt)
                && node.content != Content::Mapping(Vec::new())
            {
                let message = format!("spec.{unbuilt} is not supported yet");
                self.reporter.error(node.position, message, None);
            }
        }
        if fields.optional("outputTypeInstanceRelations").is_none() {
            let hint = Some("write `outputTypeInstanceRelations: {}`".to_owned());
            let message = "spec.outputTypeInstanceRelations is missing";
            self.reporter.warning(fields.position(), message, hint);
        }
        let implements = self.implements(fields);
        references.extend(implements.iter().cloned());
        self.requires(fields, references);
        self.imports(fields, references);
        let template = self.action(fields);
        Action { implements, template }
    }

    fn implements(&self, fields: &mut Fields<'a>) -> Vec<Reference> {
        let items = fields.items("implements");
        if items.is_empty() {
            let message = "spec.implements names no Interface";
            self.reporter.error(fields.position(), message, None);
        }
        items.iter().filter_map(|item| self.reference(Kind::Interface, item, "spec.implements[]")).collect()
    }

    fn requires(&self, fields: &mut Fields<'a>, references: &mut Vec<Reference>) {
        for parent in fields.entries("requires") {
            let name = format!("spec.requires.{}", parent.key);
            let Some(mut choices) = Fields::of(&parent.value, &name, self.reporter) else {
                continue;
            };
            for choice in ["oneOf", "anyOf", "allOf"] {
                for item in choices.items(choice) {
                    references.extend(self.requirement(&parent.key, item, &name));
                }
            }
            choices.finish();
        }
    }

    fn requirement(&self, parent: &str, item: &'a Node, name: &str) -> Option<Reference> {
        let mut fields = Fields::of(item, name, self.reporter)?;
        let required = fields.text("name");
        let revision = fields.optional_revision("revision");
        fields.optional_text("alias");
        fields.optional("valueConstraints");
        fields.finish();
        let required = required?;
        let path = if required.starts_with("cap.") { required } else { format!("{parent}.{required}") };
        Some(Reference { kind: Kind::Type, path, revision, position: item.position })
    }

    fn imports(&self, fields: &mut Fields<'a>, references: &mut Vec<Reference>) {
        for import in fields.items("imports") {
            let Some(mut fields) = Fields::of(import, "spec.imports[]", self.reporter) else {
                continue;
            };
            let group = fields.text("interfaceGroupPath");
            fields.optional_text("alias");
            fields.optional_text("appVersion");
            let Some(group) = group else {
                continue;
            };
            for method in fields.items("methods") {
                let Some(mut fields) = Fields::of(method, "spec.imports[].methods[]", self.reporter) else {
                    continue;
                };
                if let Some(name) = fields.text("name") {
                    references.push(Reference {
                        kind: Kind::Interface,
                        path: format!("{group}.{name}"),
                        revision: fields.optional_revision("revision"),
                        position: method.position,
                    });
                }
                fields.finish();
            }
            references.push(Reference {
                kind: Kind::InterfaceGroup,
                path: group,
                revision: None,
                position: import.position,
            });
            fields.finish();
        }
    }

    fn action(&self, fields: &mut Fields<'a>) -> Option<(String, TextPlace)> {
        let mut action = fields.fields("action")?;
        let runner = action.text("runnerInterface");
        let runner_position = action.optional("runnerInterface").map(|node| node.position);
        if let (Some(runner), Some(position)) = (runner, runner_position)
            && runner != RUNNER
        {
            let message = format!("runnerInterface `{runner}` is not one that ochre has");
            let hint = format!("write the workflow as steps over Kubernetes objects, for `{RUNNER}`");
            self.reporter.error(position, message, Some(hint));
            action.optional("args");
            action.finish();
            return None;
        }
        let args = action.fields("args");
        action.finish();
        let mut args = args?;
        let node = args.required("workflow");
        args.finish();
        let node = node?;
        let Content::String(text) = &node.content else {
            let message = format!("the workflow must be a text, not {}", node.kind());
            let hint = Some("write `workflow: |` and the template below it".to_owned());
            self.reporter.error(node.position, message, hint);
            return None;
        };
        Some((text.clone(), TextPlace::of(node, text, self.text)))
    }

    fn reference(&self, kind: Kind, node: &'a Node, name: &str) -> Option<Reference> {
        let mut fields = Fields::of(node, name, self.reporter)?;
        let path = fields.text("path");
        let revision = fields.optional_revision("revision");
        fields.finish();
        Some(Reference { kind, path: path?, revision, position: node.position })
    }

    pub(super) fn string_item(&self, item: &Node, name: &str) -> Option<String> {
        if let Content::String(text) = &item.content {
            return Some(text.clone());
        }
        let message = format!("{name} must be a string, not {}", item.kind());
        self.reporter.error(item.position, message, None);
        None
    }
}
