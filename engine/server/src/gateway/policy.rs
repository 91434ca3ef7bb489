//! The policy types of Capact's schema, on both sides.

use async_graphql::{ID, InputObject, SimpleObject};

use super::inputs::ManifestReferenceInput;
use super::outputs::ManifestReferenceWithOptionalRevision;
use super::scalars::{Any, NodePath};

/// Which Implementations and TypeInstances to use.
#[derive(Clone, Default, SimpleObject)]
pub(super) struct Policy {
    /// The rules by Interface.
    interface: Option<InterfacePolicy>,
    /// The rules by Type.
    type_instance: Option<TypeInstancePolicy>,
}

/// The rules by Interface.
#[derive(Clone, SimpleObject)]
pub(super) struct InterfacePolicy {
    /// What holds for every Interface.
    default: Option<DefaultForInterface>,
    /// The rules.
    rules: Vec<RulesForInterface>,
}

/// What holds for every Interface.
#[derive(Clone, SimpleObject)]
pub(super) struct DefaultForInterface {
    /// What is injected.
    inject: Option<DefaultInjectForInterface>,
}

/// What is injected everywhere.
#[derive(Clone, SimpleObject)]
pub(super) struct DefaultInjectForInterface {
    /// The TypeInstances.
    required_type_instances: Option<Vec<RequiredTypeInstanceReference>>,
}

/// A TypeInstance that an Implementation requires.
#[derive(Clone, SimpleObject)]
pub(super) struct RequiredTypeInstanceReference {
    /// Its id.
    id: ID,
    /// What it is for.
    description: Option<String>,
}

/// The rules of an Interface.
#[derive(Clone, SimpleObject)]
pub(super) struct RulesForInterface {
    /// The Interface.
    interface: ManifestReferenceWithOptionalRevision,
    /// The rules, tried in order.
    one_of: Vec<PolicyRule>,
}

/// A rule.
#[derive(Clone, SimpleObject)]
pub(super) struct PolicyRule {
    /// Which Implementations it lets through.
    implementation_constraints: Option<PolicyRuleImplementationConstraints>,
    /// What it injects.
    inject: Option<PolicyRuleInjectData>,
}

/// Which Implementations a rule lets through.
#[derive(Clone, SimpleObject)]
pub(super) struct PolicyRuleImplementationConstraints {
    /// The Types that they require.
    requires: Option<Vec<ManifestReferenceWithOptionalRevision>>,
    /// The Attributes that they have.
    attributes: Option<Vec<ManifestReferenceWithOptionalRevision>>,
    /// Their path.
    path: Option<NodePath>,
}

/// What a rule injects.
#[derive(Clone, SimpleObject)]
pub(super) struct PolicyRuleInjectData {
    /// The TypeInstances that are required.
    required_type_instances: Option<Vec<RequiredTypeInstanceReference>>,
    /// Further parameters.
    additional_parameters: Option<Vec<AdditionalParameter>>,
    /// Further TypeInstances.
    additional_type_instances: Option<Vec<AdditionalTypeInstanceReference>>,
}

/// A further parameter.
#[derive(Clone, SimpleObject)]
pub(super) struct AdditionalParameter {
    /// Its name.
    name: String,
    /// Its value.
    value: Any,
}

/// A further TypeInstance.
#[derive(Clone, SimpleObject)]
pub(super) struct AdditionalTypeInstanceReference {
    /// Its name.
    name: String,
    /// Its id.
    id: ID,
}

/// The rules by Type.
#[derive(Clone, SimpleObject)]
pub(super) struct TypeInstancePolicy {
    /// The rules.
    rules: Vec<RulesForTypeInstance>,
}

/// The rule of a Type.
#[derive(Clone, SimpleObject)]
pub(super) struct RulesForTypeInstance {
    /// The Type.
    type_ref: ManifestReferenceWithOptionalRevision,
    /// Where its TypeInstances are kept.
    backend: TypeInstanceBackendRule,
}

/// Where TypeInstances are kept.
#[derive(Clone, SimpleObject)]
pub(super) struct TypeInstanceBackendRule {
    /// The id of the backend.
    id: ID,
    /// What it is for.
    description: Option<String>,
}

/// Which Implementations and TypeInstances to use.
#[derive(Clone, InputObject)]
pub(super) struct PolicyInput {
    /// The rules by Interface.
    pub interface: Option<InterfacePolicyInput>,
    /// The rules by Type.
    pub type_instance: Option<TypeInstancePolicyInput>,
}

/// The rules by Type.
#[derive(Clone, InputObject)]
pub(super) struct TypeInstancePolicyInput {
    /// The rules.
    pub rules: Vec<RulesForTypeInstanceInput>,
}

/// The rule of a Type.
#[derive(Clone, InputObject)]
pub(super) struct RulesForTypeInstanceInput {
    /// The Type.
    pub type_ref: ManifestReferenceInput,
    /// Where its TypeInstances are kept.
    pub backend: TypeInstanceBackendRuleInput,
}

/// Where TypeInstances are kept.
#[derive(Clone, InputObject)]
pub(super) struct TypeInstanceBackendRuleInput {
    /// The id of the backend.
    pub id: ID,
    /// What it is for.
    pub description: Option<String>,
}

/// The rules by Interface.
#[derive(Clone, InputObject)]
pub(super) struct InterfacePolicyInput {
    /// What holds for every Interface.
    pub default: Option<DefaultForInterfaceInput>,
    /// The rules.
    pub rules: Vec<RulesForInterfaceInput>,
}

/// What holds for every Interface.
#[derive(Clone, InputObject)]
pub(super) struct DefaultForInterfaceInput {
    /// What is injected.
    pub inject: Option<DefaultInjectForInterfaceInput>,
}

/// What is injected everywhere.
#[derive(Clone, InputObject)]
pub(super) struct DefaultInjectForInterfaceInput {
    /// The TypeInstances.
    pub required_type_instances: Option<Vec<RequiredTypeInstanceReferenceInput>>,
}

/// A TypeInstance that an Implementation requires.
#[derive(Clone, InputObject)]
pub(super) struct RequiredTypeInstanceReferenceInput {
    /// Its id.
    pub id: ID,
    /// What it is for.
    pub description: Option<String>,
}

/// The rules of an Interface.
#[derive(Clone, InputObject)]
pub(super) struct RulesForInterfaceInput {
    /// The Interface.
    pub interface: ManifestReferenceInput,
    /// The rules, tried in order.
    pub one_of: Vec<PolicyRuleInput>,
}

/// A rule.
#[derive(Clone, InputObject)]
pub(super) struct PolicyRuleInput {
    /// Which Implementations it lets through.
    pub implementation_constraints: Option<PolicyRuleImplementationConstraintsInput>,
    /// What it injects.
    pub inject: Option<PolicyRuleInjectDataInput>,
}

/// What a rule injects.
#[derive(Clone, InputObject)]
pub(super) struct PolicyRuleInjectDataInput {
    /// The TypeInstances that are required.
    pub required_type_instances: Option<Vec<RequiredTypeInstanceReferenceInput>>,
    /// Further parameters.
    pub additional_parameters: Option<Vec<AdditionalParameterInput>>,
    /// Further TypeInstances.
    pub additional_type_instances: Option<Vec<AdditionalTypeInstanceReferenceInput>>,
}

/// A further parameter.
#[derive(Clone, InputObject)]
pub(super) struct AdditionalParameterInput {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Any,
}

/// A further TypeInstance.
#[derive(Clone, InputObject)]
pub(super) struct AdditionalTypeInstanceReferenceInput {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: ID,
}

/// Which Implementations a rule lets through.
#[derive(Clone, InputObject)]
pub(super) struct PolicyRuleImplementationConstraintsInput {
    /// The Types that they require.
    pub requires: Option<Vec<ManifestReferenceInput>>,
    /// The Attributes that they have.
    pub attributes: Option<Vec<ManifestReferenceInput>>,
    /// Their path.
    pub path: Option<NodePath>,
}
