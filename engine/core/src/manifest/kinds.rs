//! Reads a manifest of any kind.

use super::document::{Content, Entry, Node, TextPlace};
use super::fields::Fields;
use super::{
    Action, Kind, Maintainer, Manifest, Metadata, OCF_VERSION, Parameter, ParameterSource,
    Position, Reference, Reporter, Spec,
};
use crate::hint::{did_you_mean, listed};

/// The one runner that Implementations may name.
const RUNNER: &str = "workflow.run";

/// The verbs that an Interface may ask of a TypeInstance.
const VERBS: [&str; 5] = ["get", "list", "create", "update", "delete"];

/// Reads a manifest; reports everything that is wrong with it, and yields what could be read.
pub(crate) fn read(file: &str, text: &str, reporter: &Reporter) -> Option<Manifest> {
    let node = match Node::parse(text) {
        Ok(node) => node,
        Err((position, message)) => {
            reporter.error(position, message, None);
            return None;
        }
    };
    if node.content == Content::Null {
        let hint = Some("remove the file or write a manifest into it".to_owned());
        reporter.error(Position::START, "the file holds no manifest", hint);
        return None;
    }
    let source = Source { text, reporter };
    source.manifest(file, &node)
}

/// The file that is being read.
struct Source<'a> {
    text: &'a str,
    reporter: &'a Reporter,
}

impl<'a> Source<'a> {
    fn manifest(&self, file: &str, node: &'a Node) -> Option<Manifest> {
        let mut fields = Fields::of(node, "", self.reporter)?;
        self.ocf_version(&mut fields);
        let kind = self.kind(&mut fields)?;
        let revision = match kind {
            Kind::InterfaceGroup => fields.optional_revision("revision"),
            _ => fields.revision("revision"),
        };
        fields.optional("signature");
        let mut references = Vec::new();
        let metadata = self.metadata(&mut fields, kind, file, &mut references);
        let spec = self.spec(&mut fields, kind, &mut references);
        fields.finish();
        let (metadata, path, position) = metadata?;
        Some(Manifest {
            kind,
            path,
            revision,
            metadata,
            position,
            references,
            spec: spec?,
        })
    }

    fn ocf_version(&self, fields: &mut Fields<'a>) {
        let Some(node) = fields.required("ocfVersion") else {
            return;
        };
        if node.content != Content::String(OCF_VERSION.to_owned()) {
            let message = format!("ocfVersion must be the string {OCF_VERSION}");
            self.reporter.error(node.position, message, None);
        }
    }

    fn kind(&self, fields: &mut Fields<'a>) -> Option<Kind> {
        let text = fields.text("kind")?;
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        if found.is_none() {
            let names = Kind::ALL.map(Kind::as_str);
            let hint =
                did_you_mean(&text, names).or_else(|| Some(format!("one of {}", listed(names))));
            let position = fields
                .optional("kind")
                .map_or(fields.position(), |node| node.position);
            self.reporter
                .error(position, format!("kind `{text}` is not an OCF kind"), hint);
        }
        found
    }

    fn metadata(
        &self,
        fields: &mut Fields<'a>,
        kind: Kind,
        file: &str,
        references: &mut Vec<Reference>,
    ) -> Option<(Metadata, String, Position)> {
        let mut fields = fields.fields("metadata")?;
        let name = fields.text("name");
        let position = fields
            .optional("name")
            .map_or(fields.position(), |node| node.position);
        let prefix = fields.optional("prefix");
        let metadata = Metadata {
            name: name.clone().unwrap_or_default(),
            display_name: fields.optional_text("displayName"),
            description: fields.text("description").unwrap_or_default(),
            documentation_url: fields.optional_text("documentationURL"),
            support_url: fields.optional_text("supportURL"),
            icon_url: fields.optional_text("iconURL"),
            maintainers: self.maintainers(&mut fields),
        };
        if matches!(kind, Kind::Type | Kind::Implementation) {
            self.attributes(&mut fields, references);
        }
        if kind == Kind::Implementation {
            self.license(&mut fields);
        }
        fields.finish();
        let name = name?;
        let path = self.path(file, &name, position)?;
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        if let Some(prefix) = prefix
            && prefix.content != Content::String(parent.to_owned())
        {
            let message =
                format!("metadata.prefix is not where the file is, `{parent}`; the folder decides");
            let hint = Some("correct it or leave it out".to_owned());
            self.reporter.warning(prefix.position, message, hint);
        }
        Some((metadata, path, position))
    }

    /// A manifest's path is its folder and its name.
    fn path(&self, file: &str, name: &str, position: Position) -> Option<String> {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut segments: Vec<&str> = vec!["cap"];
        segments.extend(folder.split('/').filter(|segment| !segment.is_empty()));
        segments.push(name);
        let wrong = segments.iter().find(|segment| !is_segment(segment));
        if let Some(wrong) = wrong {
            let message = format!("`{wrong}` cannot be part of a path");
            let hint = Some("use lower-case letters, digits, `-` and `_`".to_owned());
            self.reporter.error(position, message, hint);
            return None;
        }
        Some(segments.join("."))
    }

    fn maintainers(&self, fields: &mut Fields<'a>) -> Vec<Maintainer> {
        fields.required("maintainers");
        let mut maintainers = Vec::new();
        for item in fields.items("maintainers") {
            let Some(mut fields) = Fields::of(item, "metadata.maintainers[]", self.reporter) else {
                continue;
            };
            let email = fields.text("email");
            let name = fields.optional_text("name");
            let url = fields.optional_text("url");
            fields.finish();
            maintainers.extend(email.map(|email| Maintainer { email, name, url }));
        }
        maintainers
    }

    fn attributes(&self, fields: &mut Fields<'a>, references: &mut Vec<Reference>) {
        for Entry {
            key,
            position,
            value,
        } in fields.entries("attributes")
        {
            let mut reference = Reference {
                kind: Kind::Attribute,
                path: key.clone(),
                revision: None,
                position: *position,
            };
            if value.content != Content::Null
                && let Some(mut fields) = Fields::of(value, key, self.reporter)
            {
                reference.revision = fields.optional_revision("revision");
                fields.finish();
            }
            references.push(reference);
        }
    }

    fn license(&self, fields: &mut Fields<'a>) {
        let Some(mut fields) = fields.fields("license") else {
            return;
        };
        let given = (fields.optional_text("name"), fields.optional_text("ref"));
        if !matches!(given, (Some(_), None) | (None, Some(_))) {
            let message = "metadata.license needs either a name or a ref";
            self.reporter.error(fields.position(), message, None);
        }
        fields.finish();
    }

    fn spec(
        &self,
        fields: &mut Fields<'a>,
        kind: Kind,
        references: &mut Vec<Reference>,
    ) -> Option<Spec> {
        match kind {
            Kind::InterfaceGroup => Some(Spec::Plain),
            Kind::RepoMetadata | Kind::Vendor | Kind::Attribute => {
                // Their content is for others; only its form matters here.
                fields.optional_fields("spec");
                Some(Spec::Plain)
            }
            Kind::Type => {
                let mut fields = fields.fields("spec")?;
                for item in fields.items("additionalRefs") {
                    self.string_item(item, "spec.additionalRefs[]");
                }
                let schema = fields
                    .fields("jsonSchema")
                    .and_then(|fields| self.schema(fields));
                fields.finish();
                Some(schema.map_or(Spec::Plain, Spec::Type))
            }
            Kind::Interface => {
                let mut fields = fields.fields("spec")?;
                let parameters = self.interface(&mut fields, references);
                fields.finish();
                Some(Spec::Interface(parameters))
            }
            Kind::Implementation => {
                let mut fields = fields.fields("spec")?;
                let action = self.implementation(&mut fields, references);
                fields.finish();
                Some(Spec::Implementation(action))
            }
        }
    }

    /// Reads `jsonSchema: {value: …}`; the value may be a mapping or a text that holds one.
    fn schema(&self, mut fields: Fields<'a>) -> Option<Node> {
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

    fn interface(
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
            self.reporter
                .warning(fields.position(), "spec.output is missing", hint);
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
            (None, Some(node)) => self
                .reference(Kind::Type, node, &format!("{name}.typeRef"))
                .map(ParameterSource::TypeRef),
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
        Some(Parameter {
            name: entry.key.clone(),
            source: source?,
        })
    }

    fn type_instances(
        &self,
        fields: &mut Fields<'a>,
        verbs: bool,
        references: &mut Vec<Reference>,
    ) {
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
                    self.reporter
                        .error(verb.position, format!("`{text}` is not a verb"), hint);
                }
            }
            fields.finish();
        }
    }

    fn implementation(&self, fields: &mut Fields<'a>, references: &mut Vec<Reference>) -> Action {
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
        Action {
            implements,
            template,
        }
    }

    fn implements(&self, fields: &mut Fields<'a>) -> Vec<Reference> {
        let items = fields.items("implements");
        if items.is_empty() {
            let message = "spec.implements names no Interface";
            self.reporter.error(fields.position(), message, None);
        }
        items
            .iter()
            .filter_map(|item| self.reference(Kind::Interface, item, "spec.implements[]"))
            .collect()
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
        let path = if required.starts_with("cap.") {
            required
        } else {
            format!("{parent}.{required}")
        };
        Some(Reference {
            kind: Kind::Type,
            path,
            revision,
            position: item.position,
        })
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
                let Some(mut fields) =
                    Fields::of(method, "spec.imports[].methods[]", self.reporter)
                else {
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
            let hint =
                format!("write the workflow as steps over Kubernetes objects, for `{RUNNER}`");
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
        Some(Reference {
            kind,
            path: path?,
            revision,
            position: node.position,
        })
    }

    fn string_item(&self, item: &Node, name: &str) -> Option<String> {
        if let Content::String(text) = &item.content {
            return Some(text.clone());
        }
        let message = format!("{name} must be a string, not {}", item.kind());
        self.reporter.error(item.position, message, None);
        None
    }
}

/// Tells whether a text may be one segment of a path.
fn is_segment(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(allowed) && text.chars().all(|c| allowed(c) || c == '-' || c == '_')
}
