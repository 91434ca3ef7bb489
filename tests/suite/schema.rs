//! Capact's schemas of engine and public hub are the floor: every type, field, argument and value of them is there.

/// Every type of Capact's engine, its fields as the schema prints them; a line each.
const FLOOR: &str = "
scalar Timestamp
scalar Any
scalar JSON
scalar Version
scalar NodePath
scalar NameRegex
type ManifestReference: path: NodePath!; revision: Version!
type ManifestReferenceWithOptionalRevision: path: NodePath!; revision: Version
type RequiredTypeInstanceReference: id: ID!; description: String
input RequiredTypeInstanceReferenceInput: id: ID!; description: String
input AdditionalTypeInstanceReferenceInput: name: String!; id: ID!
input ActionDetailsInput: name: String!; input: ActionInputData; actionRef: ManifestReferenceInput!; dryRun: Boolean = false; advancedRendering: Boolean = false; renderedActionOverride: JSON
input ManifestReferenceInput: path: NodePath!; revision: Version
input ActionInputData: parameters: JSON; typeInstances: [InputTypeInstanceData!]; actionPolicy: PolicyInput
input InputTypeInstanceData: name: String!; id: ID!
type Action: name: String!; createdAt: Timestamp!; input: ActionInput; output: ActionOutput; actionRef: ManifestReference!; run: Boolean!; cancel: Boolean!; dryRun: Boolean!; renderedAction: Any; renderingAdvancedMode: ActionRenderingAdvancedMode; renderedActionOverride: Any; status: ActionStatus
type ActionRenderingAdvancedMode: enabled: Boolean!; typeInstancesForRenderingIteration: [InputTypeInstanceToProvide!]!
type ActionStatus: phase: ActionStatusPhase!; timestamp: Timestamp!; message: String; runner: RunnerStatus; createdBy: UserInfo; runBy: UserInfo; canceledBy: UserInfo
type RunnerStatus: status: Any
type ActionInput: parameters: Any; typeInstances: [InputTypeInstanceDetails!]!; actionPolicy: Policy
type ActionOutput: typeInstances: [OutputTypeInstanceDetails!]!
type InputTypeInstanceDetails: id: ID!; name: String!
type InputTypeInstanceToProvide: name: String!; typeRef: ManifestReference!
type OutputTypeInstanceDetails: id: ID!; typeRef: ManifestReference!; backend: TypeInstanceBackendDetails!
type TypeInstanceBackendDetails: id: String!; abstract: Boolean!
type UserInfo: username: String!; groups: [String!]!; extra: Any
input ActionFilter: phase: ActionStatusPhase; nameRegex: NameRegex; interfaceRef: ManifestReferenceInput
input AdvancedModeContinueRenderingInput: typeInstances: [InputTypeInstanceData!]
enum ActionStatusPhase: INITIAL; BEING_RENDERED; ADVANCED_MODE_RENDERING_ITERATION; READY_TO_RUN; RUNNING; BEING_CANCELED; CANCELED; SUCCEEDED; FAILED
input PolicyInput: interface: InterfacePolicyInput; typeInstance: TypeInstancePolicyInput
input TypeInstancePolicyInput: rules: [RulesForTypeInstanceInput!]!
input RulesForTypeInstanceInput: typeRef: ManifestReferenceInput!; backend: TypeInstanceBackendRuleInput!
input TypeInstanceBackendRuleInput: id: ID!; description: String
input InterfacePolicyInput: default: DefaultForInterfaceInput; rules: [RulesForInterfaceInput!]!
input DefaultForInterfaceInput: inject: DefaultInjectForInterfaceInput
input DefaultInjectForInterfaceInput: requiredTypeInstances: [RequiredTypeInstanceReferenceInput!]
input RulesForInterfaceInput: interface: ManifestReferenceInput!; oneOf: [PolicyRuleInput!]!
input PolicyRuleInput: implementationConstraints: PolicyRuleImplementationConstraintsInput; inject: PolicyRuleInjectDataInput
input PolicyRuleInjectDataInput: requiredTypeInstances: [RequiredTypeInstanceReferenceInput!]; additionalParameters: [AdditionalParameterInput!]; additionalTypeInstances: [AdditionalTypeInstanceReferenceInput!]
input AdditionalParameterInput: name: String!; value: Any!
input PolicyRuleImplementationConstraintsInput: requires: [ManifestReferenceInput!]; attributes: [ManifestReferenceInput!]; path: NodePath
type Policy: interface: InterfacePolicy; typeInstance: TypeInstancePolicy
type TypeInstancePolicy: rules: [RulesForTypeInstance!]!
type RulesForTypeInstance: typeRef: ManifestReferenceWithOptionalRevision!; backend: TypeInstanceBackendRule!
type TypeInstanceBackendRule: id: ID!; description: String
type InterfacePolicy: default: DefaultForInterface; rules: [RulesForInterface!]!
type DefaultForInterface: inject: DefaultInjectForInterface
type DefaultInjectForInterface: requiredTypeInstances: [RequiredTypeInstanceReference!]
type RulesForInterface: interface: ManifestReferenceWithOptionalRevision!; oneOf: [PolicyRule!]!
type PolicyRule: implementationConstraints: PolicyRuleImplementationConstraints; inject: PolicyRuleInjectData
type PolicyRuleInjectData: requiredTypeInstances: [RequiredTypeInstanceReference!]; additionalParameters: [AdditionalParameter!]; additionalTypeInstances: [AdditionalTypeInstanceReference!]
type AdditionalTypeInstanceReference: name: String!; id: ID!
type AdditionalParameter: name: String!; value: Any!
type PolicyRuleImplementationConstraints: requires: [ManifestReferenceWithOptionalRevision!]; attributes: [ManifestReferenceWithOptionalRevision!]; path: NodePath
type Query: action(name: String!): Action; actions(filter: ActionFilter): [Action!]!; policy: Policy!
type Mutation: createAction(in: ActionDetailsInput): Action!; runAction(name: String!, workflowDigest: String): Action!; cancelAction(name: String!): Action!; updateAction(in: ActionDetailsInput!): Action!; continueAdvancedRendering(actionName: String!, in: AdvancedModeContinueRenderingInput!): Action!; deleteAction(name: String!): Action!; updatePolicy(in: PolicyInput!): Policy!
";

/// Every type of Capact's public hub that a query of it reaches, in the same form.
const HUB_FLOOR: &str = "
scalar Any
scalar NodePath
scalar NodePathPattern
scalar NodePrefix
scalar NodeName
scalar Version
scalar VersionRange
input InterfaceFilter: pathPattern: NodePathPattern
input ImplementationFilter: pathPattern: NodePathPattern
input InterfaceGroupFilter: pathPattern: NodePathPattern
input AttributeFilter: pathPattern: NodePathPattern
input TypeFilter: pathPattern: NodePathPattern
type RepoMetadata: path: NodePath!; name: NodeName!; prefix: NodePrefix!; latestRevision: RepoMetadataRevision; revision(revision: Version!): RepoMetadataRevision; revisions: [RepoMetadataRevision!]!
type RepoMetadataRevision: revision: Version!; metadata: GenericMetadata!; spec: RepoMetadataSpec!
type RepoMetadataSpec: hubVersion: Version!; ocfVersion: RepoOCFVersion!; implementation: RepoImplementationConfig!
type RepoImplementationConfig: appVersion: RepoImplementationAppVersionConfig!
type RepoImplementationAppVersionConfig: semVerTaggingStrategy: SemVerTaggingStrategy!
type SemVerTaggingStrategy: latest: LatestSemVerTaggingStrategy!
type LatestSemVerTaggingStrategy: pointsTo: SemVerTaggingStrategyTags!
enum SemVerTaggingStrategyTags: STABLE; EDGE
type RepoOCFVersion: supported: [Version!]!; default: Version!
type InterfaceGroup: path: NodePath!; metadata: GenericMetadata!; interfaces(filter: InterfaceFilter): [Interface!]!
type Interface: path: NodePath!; name: NodeName!; prefix: NodePrefix!; latestRevision: InterfaceRevision; revision(revision: Version!): InterfaceRevision; revisions: [InterfaceRevision!]!
type InterfaceRevision: revision: Version!; metadata: GenericMetadata!; spec: InterfaceSpec!; implementationRevisions: [ImplementationRevision!]!
type InterfaceSpec: input: InterfaceInput!; output: InterfaceOutput!
type InterfaceInput: parameters: [InputParameter!]!; typeInstances: [InputTypeInstance]!
type InputParameter: name: String!; jsonSchema: Any; typeRef: TypeReference
type InterfaceOutput: typeInstances: [OutputTypeInstance]!
interface TypeInstanceFields: name: String!; typeRef: TypeReference!
type InputTypeInstance implements TypeInstanceFields: name: String!; typeRef: TypeReference!; verbs: [TypeInstanceOperationVerb!]!
enum TypeInstanceOperationVerb: CREATE; GET; LIST; UPDATE; DELETE
type OutputTypeInstance implements TypeInstanceFields: name: String!; typeRef: TypeReference!
type Type: path: NodePath!; name: NodeName!; prefix: NodePrefix!; latestRevision: TypeRevision; revision(revision: Version!): TypeRevision; revisions: [TypeRevision!]!
type TypeRevision: revision: Version!; metadata: TypeMetadata!; spec: TypeSpec!
type TypeSpec: additionalRefs: [NodePath!]; jsonSchema: String!
type Implementation: path: NodePath!; name: NodeName!; prefix: NodePrefix!; latestRevision: ImplementationRevision; revision(revision: Version!): ImplementationRevision; revisions: [ImplementationRevision!]!
type ImplementationRevision: revision: Version!; metadata: ImplementationMetadata!; spec: ImplementationSpec!; interfaces: [InterfaceRevision!]!
type ImplementationSpec: appVersion: VersionRange!; implements: [InterfaceReference!]!; requires: [ImplementationRequirement!]!; imports: [ImplementationImport!]; action: ImplementationAction!; additionalInput: ImplementationAdditionalInput; additionalOutput: ImplementationAdditionalOutput; outputTypeInstanceRelations: [TypeInstanceRelationItem!]!
type ImplementationAdditionalInput: typeInstances: [InputTypeInstance!]; parameters: [ImplementationAdditionalInputParameter!]
type ImplementationAdditionalInputParameter: name: String!; typeRef: TypeReference!
type ImplementationAdditionalOutput: typeInstances: [OutputTypeInstance!]!
type TypeInstanceRelationItem: typeInstanceName: String!; uses: [String!]
type InterfaceReference: path: NodePath!; revision: Version!
type ImplementationRequirement: prefix: NodePrefix!; oneOf: [ImplementationRequirementItem!]!; anyOf: [ImplementationRequirementItem!]!; allOf: [ImplementationRequirementItem!]!
type ImplementationRequirementItem: typeRef: TypeReference!; valueConstraints: Any; alias: String
type TypeReference: path: NodePath!; revision: Version!
type ImplementationImport: interfaceGroupPath: NodePath!; alias: String; appVersion: VersionRange; methods: [ImplementationImportMethod!]!
type ImplementationImportMethod: name: NodeName!; revision: Version
type ImplementationAction: runnerInterface: String!; args: Any
type Attribute: path: NodePath!; name: NodeName!; prefix: NodePrefix!; latestRevision: AttributeRevision; revision(revision: Version!): AttributeRevision; revisions: [AttributeRevision!]!
type AttributeRevision: revision: Version!; spec: AttributeSpec; metadata: GenericMetadata!
interface MetadataBaseFields: name: NodeName; prefix: NodePrefix; path: NodePath; displayName: String; description: String!; maintainers: [Maintainer!]!; documentationURL: String; supportURL: String; iconURL: String
type GenericMetadata implements MetadataBaseFields: path: NodePath!; name: NodeName!; prefix: NodePrefix; displayName: String; description: String!; maintainers: [Maintainer!]!; documentationURL: String; supportURL: String; iconURL: String
type ImplementationMetadata implements MetadataBaseFields: path: NodePath!; name: NodeName!; prefix: NodePrefix; displayName: String; description: String!; maintainers: [Maintainer!]!; documentationURL: String; supportURL: String; iconURL: String; license: License!; attributes: [AttributeRevision!]!
type TypeMetadata implements MetadataBaseFields: path: NodePath!; name: NodeName!; prefix: NodePrefix; displayName: String; description: String!; maintainers: [Maintainer!]!; documentationURL: String; supportURL: String; iconURL: String; attributes: [AttributeRevision!]!
type License: name: String!
type Maintainer: name: String; email: String!; url: String
type AttributeSpec: additionalRefs: [NodePath!]!
type Query: repoMetadata: RepoMetadata; interfaceGroups(filter: InterfaceGroupFilter = {}): [InterfaceGroup!]!; interfaceGroup(path: NodePath!): InterfaceGroup; interfaces(filter: InterfaceFilter = {}): [Interface!]!; interface(path: NodePath!): Interface; types(filter: TypeFilter = {}): [Type!]!; type(path: NodePath!): Type; implementations(filter: ImplementationFilter = {}): [Implementation!]!; implementation(path: NodePath!): Implementation; attributes(filter: AttributeFilter = {}): [Attribute!]!; attribute(path: NodePath!): Attribute
";

/// Takes the block of a type, input, enum or scalar out of a printed schema.
fn block<'s>(sdl: &'s str, kind: &str, name: &str) -> &'s str {
    let start = sdl.find(&format!("\n{kind} {name} {{\n"));
    assert!(start.is_some(), "{kind} {name} is missing");
    let rest = &sdl[start.unwrap() + 1..];
    &rest[..rest.find("\n}").unwrap_or(rest.len())]
}

fn check(sdl: &str, line: &str) {
    let (head, fields) = line.split_once(": ").unwrap_or((line, ""));
    let (kind, name) = head.split_once(' ').unwrap();
    if kind == "scalar" {
        assert!(sdl.contains(&format!("\nscalar {name}\n")), "scalar {name} is missing");
        return;
    }
    let block = block(sdl, kind, name);
    for field in fields.split("; ") {
        let is_there = block.lines().any(|line| {
            let line = line.trim();
            line == field || line.strip_prefix(field).is_some_and(|rest| rest.starts_with(" @"))
        });
        assert!(is_there, "{kind} {name} lacks `{field}`:\n{block}");
    }
}

/// Prints the schema with one line for each field.
fn sdl() -> String {
    let sdl = format!("\n{}", ochre::sdl());
    let mut lines = sdl;
    for (pattern, replacement) in [
        // Descriptions, of arguments too.
        (r#"(?s)[ \t]*""".*?"""\n"#, ""),
        (r"\(\s+", "("),
        (r",\s+", ", "),
        (r"\s+\)", ")"),
        // An empty input is printed with its fields.
        (r"\{pathPattern: null\}", "{}"),
    ] {
        lines = regex_lite::Regex::new(pattern).unwrap().replace_all(&lines, replacement).into_owned();
    }
    lines
}

fn check_floor(floor: &str, count: usize) {
    let sdl = sdl();
    let lines: Vec<&str> = floor.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), count, "the floor is whole");
    for line in lines {
        check(&sdl, line);
    }
}

#[test]
fn capact_s_engine_schema_is_whole() {
    check_floor(FLOOR, 56);
}

#[test]
fn capact_s_public_hub_is_whole() {
    check_floor(HUB_FLOOR, 59);
}

#[test]
fn every_type_field_and_value_has_a_description() {
    let sdl = ochre::sdl();
    let (types, _) = sdl.split_once("\nschema {").unwrap();
    let description = regex_lite::Regex::new(r#"(?s)""".*?"""\n"#).unwrap();
    let marked = description.replace_all(types, "described ");
    let ends = |line: &str| line.is_empty() || line.starts_with(['}', ')']);
    let lines = marked.lines().map(str::trim);
    let missing: Vec<&str> = lines.filter(|line| !ends(line) && !line.starts_with("described ")).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
