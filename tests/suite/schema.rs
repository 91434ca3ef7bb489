//! Capact's engine schema is the floor: every type, field, argument and value of it is there.

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
type Mutation: createAction(in: ActionDetailsInput): Action!; runAction(name: String!): Action!; cancelAction(name: String!): Action!; updateAction(in: ActionDetailsInput!): Action!; continueAdvancedRendering(actionName: String!, in: AdvancedModeContinueRenderingInput!): Action!; deleteAction(name: String!): Action!; updatePolicy(in: PolicyInput!): Policy!
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

#[test]
fn capact_s_engine_schema_is_whole() {
    let sdl = format!("\n{}", ochre::sdl());
    let lines: Vec<&str> = FLOOR.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 56, "the floor is whole");
    for line in lines {
        check(&sdl, line);
    }
}
