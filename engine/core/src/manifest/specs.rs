//! Reads what only Interfaces, Implementations and Types say.

use serde_json::Value;

use super::document::{Content, Entry, Node, TextPlace};
use super::fields::Fields;
use super::kinds::Source;
use super::{
    ImplementationSpec, Import, InterfaceSpec, Kind, Method, Parameter, ParameterSource, Reference, Relation,
    RequiredType, Requirement, TypeInstance, Verb,
};
use crate::hint::listed;

/// The one runner that Implementations may name.
pub(crate) const RUNNER: &str = "workflow.run";

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
    ) -> InterfaceSpec {
        let mut interface = InterfaceSpec::default();
        if let Some(mut input) = fields.fields("input") {
            let entries = input.entries("parameters");
            if let Some(extra) = entries.get(1) {
                let message = "an Interface with more than one parameter is not supported yet";
                let hint = Some("make them properties of one".to_owned());
                self.reporter.error(extra.position, message, hint);
            }
            for entry in entries {
                interface.parameters.extend(self.parameter(entry, references));
            }
            interface.input = self.type_instances(&mut input, true);
            input.finish();
        }
        fields.optional("abstract");
        if let Some(mut output) = fields.optional_fields("output") {
            interface.output = self.type_instances(&mut output, false);
            output.finish();
        } else {
            let hint = Some("write `output: {}`".to_owned());
            self.reporter.warning(fields.position(), "spec.output is missing", hint);
        }
        let type_instances = interface.input.iter().chain(&interface.output);
        references.extend(type_instances.map(|each| each.type_ref.clone()));
        interface
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

    fn type_instances(&self, fields: &mut Fields<'a>, has_verbs: bool) -> Vec<TypeInstance<Reference>> {
        let mut type_instances = Vec::new();
        for entry in fields.entries("typeInstances") {
            let name = format!("typeInstances.{}", entry.key);
            let Some(mut fields) = Fields::of(&entry.value, &name, self.reporter) else {
                continue;
            };
            let type_ref = fields
                .required("typeRef")
                .and_then(|node| self.reference(Kind::Type, node, &format!("{name}.typeRef")));
            let verbs = if has_verbs { fields.items("verbs") } else { &[] };
            let verbs = verbs.iter().filter_map(|verb| self.verb(verb)).collect();
            fields.finish();
            let name = entry.key.clone();
            type_instances.extend(type_ref.map(|type_ref| TypeInstance { name, type_ref, verbs }));
        }
        type_instances
    }

    fn verb(&self, item: &Node) -> Option<Verb> {
        let text = self.string_item(item, "verbs[]")?;
        let found = Verb::ALL.into_iter().find(|verb| verb.as_str() == text);
        if found.is_none() {
            let hint = Some(format!("one of {}", listed(Verb::ALL.map(Verb::as_str))));
            self.reporter.error(item.position, format!("`{text}` is not a verb"), hint);
        }
        found
    }

    pub(super) fn implementation(
        &self,
        fields: &mut Fields<'a>,
        references: &mut Vec<Reference>,
    ) -> ImplementationSpec {
        let app_version = fields.optional_text("appVersion");
        for unbuilt in ["additionalInput", "additionalOutput"] {
            if let Some(node) = fields.optional(unbuilt)
                && node.content != Content::Mapping(Vec::new())
            {
                let message = format!("spec.{unbuilt} is not supported yet");
                self.reporter.error(node.position, message, None);
            }
        }
        let relations = fields.optional("outputTypeInstanceRelations");
        if relations.is_none() {
            let hint = Some("write `outputTypeInstanceRelations: {}`".to_owned());
            let message = "spec.outputTypeInstanceRelations is missing";
            self.reporter.warning(fields.position(), message, hint);
        }
        let implements = self.implements(fields);
        references.extend(implements.iter().cloned());
        let requires = self.requires(fields, references);
        let imports = self.imports(fields, references);
        let template = self.action(fields);
        let relations = relations.map(relations_of).unwrap_or_default();
        ImplementationSpec { app_version, implements, requires, imports, relations, template }
    }

    fn implements(&self, fields: &mut Fields<'a>) -> Vec<Reference> {
        let items = fields.items("implements");
        if items.is_empty() {
            let message = "spec.implements names no Interface";
            self.reporter.error(fields.position(), message, None);
        }
        items.iter().filter_map(|item| self.reference(Kind::Interface, item, "spec.implements[]")).collect()
    }

    fn requires(
        &self,
        fields: &mut Fields<'a>,
        references: &mut Vec<Reference>,
    ) -> Vec<Requirement<Reference>> {
        let mut requires = Vec::new();
        for parent in fields.entries("requires") {
            let name = format!("spec.requires.{}", parent.key);
            let Some(mut choices) = Fields::of(&parent.value, &name, self.reporter) else {
                continue;
            };
            let [one_of, any_of, all_of] = ["oneOf", "anyOf", "allOf"].map(|choice| {
                let items = choices.items(choice).iter();
                items.filter_map(|item| self.required_type(&parent.key, item, &name)).collect::<Vec<_>>()
            });
            choices.finish();
            let types = one_of.iter().chain(&any_of).chain(&all_of);
            references.extend(types.map(|each| each.type_ref.clone()));
            requires.push(Requirement { prefix: parent.key.clone(), one_of, any_of, all_of });
        }
        requires
    }

    fn required_type(&self, parent: &str, item: &'a Node, name: &str) -> Option<RequiredType<Reference>> {
        let mut fields = Fields::of(item, name, self.reporter)?;
        let required = fields.text("name");
        let revision = fields.optional_revision("revision");
        let alias = fields.optional_text("alias");
        let value_constraints = fields.optional("valueConstraints").map(Node::to_json);
        fields.finish();
        let required = required?;
        let path = if required.starts_with("cap.") { required } else { format!("{parent}.{required}") };
        let type_ref = Reference { kind: Kind::Type, path, revision, position: item.position };
        Some(RequiredType { type_ref, alias, value_constraints })
    }

    fn imports(&self, fields: &mut Fields<'a>, references: &mut Vec<Reference>) -> Vec<Import> {
        let mut imports = Vec::new();
        for import in fields.items("imports") {
            let Some(mut fields) = Fields::of(import, "spec.imports[]", self.reporter) else {
                continue;
            };
            let group = fields.text("interfaceGroupPath");
            let alias = fields.optional_text("alias");
            let app_version = fields.optional_text("appVersion");
            let Some(group) = group else {
                continue;
            };
            let mut methods = Vec::new();
            for method in fields.items("methods") {
                let Some(mut fields) = Fields::of(method, "spec.imports[].methods[]", self.reporter) else {
                    continue;
                };
                if let Some(name) = fields.text("name") {
                    let revision = fields.optional_revision("revision");
                    references.push(Reference {
                        kind: Kind::Interface,
                        path: format!("{group}.{name}"),
                        revision: revision.clone(),
                        position: method.position,
                    });
                    methods.push(Method { name, revision });
                }
                fields.finish();
            }
            references.push(Reference {
                kind: Kind::InterfaceGroup,
                path: group.clone(),
                revision: None,
                position: import.position,
            });
            fields.finish();
            imports.push(Import { group, alias, app_version, methods });
        }
        imports
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

/// Reads `{name: {uses: [name, …]}, …}`; nothing of it is checked yet.
fn relations_of(node: &Node) -> Vec<Relation> {
    let Content::Mapping(entries) = &node.content else {
        return Vec::new();
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let uses = |entry: &Entry| entry.value.to_json().get("uses").and_then(Value::as_array).cloned();
    entries
        .iter()
        .map(|entry| Relation {
            name: entry.key.clone(),
            uses: uses(entry).unwrap_or_default().iter().filter_map(text).collect(),
        })
        .collect()
}
