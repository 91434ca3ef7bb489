//! Reads a manifest of any kind.

use super::document::{Content, Entry, Node};
use super::fields::Fields;
use super::{
    Kind, Maintainer, Manifest, Metadata, OCF_VERSION, Position, Reference, Reporter, Spec, TypeSpec,
};
use crate::hint::{did_you_mean, listed};

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
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) reporter: &'a Reporter,
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
        let mut attributes = Vec::new();
        let metadata = self.metadata(&mut fields, kind, file, &mut attributes);
        let mut references = attributes.clone();
        let spec = self.spec(&mut fields, kind, &mut references);
        fields.finish();
        let (metadata, path, position) = metadata?;
        Some(Manifest { kind, path, revision, metadata, position, attributes, references, spec: spec? })
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
            let hint = did_you_mean(&text, names).or_else(|| Some(format!("one of {}", listed(names))));
            let position = fields.optional("kind").map_or(fields.position(), |node| node.position);
            self.reporter.error(position, format!("kind `{text}` is not an OCF kind"), hint);
        }
        found
    }

    fn metadata(
        &self,
        fields: &mut Fields<'a>,
        kind: Kind,
        file: &str,
        attributes: &mut Vec<Reference>,
    ) -> Option<(Metadata, String, Position)> {
        let mut fields = fields.fields("metadata")?;
        let name = fields.text("name");
        let position = fields.optional("name").map_or(fields.position(), |node| node.position);
        let prefix = fields.optional("prefix");
        let mut metadata = Metadata {
            name: name.clone().unwrap_or_default(),
            display_name: fields.optional_text("displayName"),
            description: fields.text("description").unwrap_or_default(),
            documentation_url: fields.optional_text("documentationURL"),
            support_url: fields.optional_text("supportURL"),
            icon_url: fields.optional_text("iconURL"),
            maintainers: self.maintainers(&mut fields),
            license: None,
        };
        if matches!(kind, Kind::Type | Kind::Implementation) {
            *attributes = self.attributes(&mut fields);
        }
        if kind == Kind::Implementation {
            metadata.license = self.license(&mut fields);
        }
        fields.finish();
        let name = name?;
        let path = self.path(file, &name, position)?;
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        if let Some(prefix) = prefix
            && prefix.content != Content::String(parent.to_owned())
        {
            let message = format!("metadata.prefix is not where the file is, `{parent}`; the folder decides");
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

    fn attributes(&self, fields: &mut Fields<'a>) -> Vec<Reference> {
        let mut attributes = Vec::new();
        for Entry { key, position, value } in fields.entries("attributes") {
            let mut reference =
                Reference { kind: Kind::Attribute, path: key.clone(), revision: None, position: *position };
            if value.content != Content::Null
                && let Some(mut fields) = Fields::of(value, key, self.reporter)
            {
                reference.revision = fields.optional_revision("revision");
                fields.finish();
            }
            attributes.push(reference);
        }
        attributes
    }

    fn license(&self, fields: &mut Fields<'a>) -> Option<String> {
        let mut fields = fields.fields("license")?;
        let given = (fields.optional_text("name"), fields.optional_text("ref"));
        if !matches!(given, (Some(_), None) | (None, Some(_))) {
            let message = "metadata.license needs either a name or a ref";
            self.reporter.error(fields.position(), message, None);
        }
        fields.finish();
        let (name, reference) = given;
        name.or(reference)
    }

    fn spec(&self, fields: &mut Fields<'a>, kind: Kind, references: &mut Vec<Reference>) -> Option<Spec> {
        match kind {
            Kind::InterfaceGroup => Some(Spec::Plain),
            Kind::RepoMetadata | Kind::Vendor | Kind::Attribute => {
                // Their content is for others; only its form matters here.
                fields.optional_fields("spec");
                Some(Spec::Unread(fields.optional("spec").map(Node::to_json).unwrap_or_default()))
            }
            Kind::Type => {
                let mut fields = fields.fields("spec")?;
                let references = fields.items("additionalRefs").iter();
                let additional_refs =
                    references.filter_map(|item| self.string_item(item, "spec.additionalRefs[]")).collect();
                let schema = fields.fields("jsonSchema").and_then(|fields| self.schema(fields));
                fields.finish();
                Some(schema.map_or(Spec::Plain, |schema| Spec::Type(TypeSpec { schema, additional_refs })))
            }
            Kind::Interface => {
                let mut fields = fields.fields("spec")?;
                let interface = self.interface(&mut fields, references);
                fields.finish();
                Some(Spec::Interface(interface))
            }
            Kind::Implementation => {
                let mut fields = fields.fields("spec")?;
                let implementation = self.implementation(&mut fields, references);
                fields.finish();
                Some(Spec::Implementation(Box::new(implementation)))
            }
        }
    }
}

/// Tells whether a text may be one segment of a path.
fn is_segment(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(allowed) && text.chars().all(|c| allowed(c) || c == '-' || c == '_')
}
