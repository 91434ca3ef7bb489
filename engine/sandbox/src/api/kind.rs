//! The kinds that the API serves: a table of built-in ones, and those that CustomResourceDefinitions add.

use std::sync::Arc;

use serde_json::{Value, json};

use super::schema::Schema;
use super::table::Column;

/// Describes one kind of object and how it is served.
#[expect(clippy::struct_field_names, reason = "a kind's kind is Kubernetes' own word")]
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Served versions, the preferred one first.
    pub(crate) versions: Vec<Version>,
    /// Whether `metadata.generation` is kept.
    pub(crate) generation: bool,
    /// Whether a CustomResourceDefinition made it.
    pub(crate) custom: bool,
}

/// Describes one served version of a kind.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) status: bool,
    pub(crate) columns: Vec<Column>,
    pub(crate) schema: Option<Arc<Schema>>,
}

impl Kind {
    /// Returns `plural.group`, or the plural alone in the core group: the key of the store and the word of messages.
    pub(crate) fn resource(&self) -> String {
        resource(&self.plural, &self.group)
    }

    /// Returns `Kind.group`, the word of validation messages.
    pub(crate) fn qualified_kind(&self) -> String {
        resource(&self.kind, &self.group)
    }

    /// Finds a served version.
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// Returns `group/version`, or the version alone in the core group.
    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Describes a version of the kind for discovery: the resource itself and its status subresource.
    pub(crate) fn discovery(&self, version: &Version) -> Vec<Value> {
        let mut resource = json!({
            "name": self.plural, "singularName": self.singular, "namespaced": self.namespaced, "kind": self.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        });
        if self.plural == "namespaces"
            && let Some(verbs) = resource["verbs"].as_array_mut()
        {
            verbs.retain(|verb| verb != "deletecollection");
        }
        if !self.short_names.is_empty() {
            resource["shortNames"] = json!(self.short_names);
        }
        if !self.categories.is_empty() {
            resource["categories"] = json!(self.categories);
        }
        let mut resources = vec![resource];
        if version.status {
            resources.push(json!({
                "name": format!("{}/status", self.plural), "singularName": "", "namespaced": self.namespaced,
                "kind": self.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        resources
    }
}

/// Joins a plural (or kind) and its group with a dot; the core group adds nothing.
pub(crate) fn resource(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// The built-in kinds, one a line:
/// group/version, plural, kind, short names, categories, flags, printer columns.
/// Flags: `n` namespaced, `s` status subresource, `g` keeps a generation.
#[rustfmt::skip]
const BUILT_IN: &[(&str, &str, &str, &str, &str, &str, &str)] = &[
    ("v1", "configmaps", "ConfigMap", "cm", "", "n", "Data=#.data"),
    ("v1", "endpoints", "Endpoints", "ep", "", "n", ""),
    ("v1", "events", "Event", "ev", "", "n", "Type=.type Reason=.reason Object=.involvedObject.name Message=.message"),
    ("v1", "namespaces", "Namespace", "ns", "", "s", "Status=.status.phase"),
    ("v1", "nodes", "Node", "no", "", "s", "Status=.status.conditions[?(@.type==\"Ready\")].status"),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "", "ns", "Status=.status.phase Volume=.spec.volumeName Capacity=.status.capacity.storage"),
    ("v1", "persistentvolumes", "PersistentVolume", "pv", "", "s", "Capacity=.spec.capacity.storage Reclaim_Policy=.spec.persistentVolumeReclaimPolicy Status=.status.phase Claim=.spec.claimRef.name"),
    ("v1", "pods", "Pod", "po", "all", "ns", "Status=.status.phase"),
    ("v1", "secrets", "Secret", "", "", "n", "Type=.type Data=#.data"),
    ("v1", "serviceaccounts", "ServiceAccount", "sa", "", "n", ""),
    ("v1", "services", "Service", "svc", "all", "ns", "Type=.spec.type Cluster-IP=.spec.clusterIP"),
    ("apps/v1", "controllerrevisions", "ControllerRevision", "", "", "n", "Revision=.revision"),
    ("apps/v1", "daemonsets", "DaemonSet", "ds", "all", "nsg", "Desired=.status.desiredNumberScheduled Ready=.status.numberReady"),
    ("apps/v1", "deployments", "Deployment", "deploy", "all", "nsg", "Replicas=.spec.replicas Ready=.status.readyReplicas"),
    ("apps/v1", "replicasets", "ReplicaSet", "rs", "all", "nsg", "Replicas=.spec.replicas Ready=.status.readyReplicas"),
    ("apps/v1", "statefulsets", "StatefulSet", "sts", "all", "nsg", "Replicas=.spec.replicas Ready=.status.readyReplicas"),
    ("batch/v1", "cronjobs", "CronJob", "cj", "all", "nsg", "Schedule=.spec.schedule"),
    ("batch/v1", "jobs", "Job", "", "all", "nsg", "Succeeded=.status.succeeded"),
    ("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", "", "", "", "Role=.roleRef.name"),
    ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", "", "", "", ""),
    ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", "", "", "n", "Role=.roleRef.name"),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", "", "", "n", ""),
    ("storage.k8s.io/v1", "storageclasses", "StorageClass", "sc", "", "", "Provisioner=.provisioner"),
    ("networking.k8s.io/v1", "ingresses", "Ingress", "ing", "", "nsg", "Class=.spec.ingressClassName"),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "netpol", "", "ng", ""),
    ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", "", "", "ng", "AddressType=.addressType"),
    ("coordination.k8s.io/v1", "leases", "Lease", "", "", "n", "Holder=.spec.holderIdentity"),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", "", "nsg", "Min_Available=.spec.minAvailable"),
    ("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", "pc", "", "g", "Value=.value"),
    ("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", "", "api-extensions", "g", ""),
    ("admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", "", "api-extensions", "g", "PolicyName=.spec.policyName"),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "", "api-extensions", "sg", ""),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "", "api-extensions", "g", "PolicyName=.spec.policyName"),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", "crd crds", "api-extensions", "sg", ""),
];

/// Returns the built-in kinds.
pub(crate) fn built_in() -> impl Iterator<Item = Kind> {
    BUILT_IN.iter().map(|&(api_version, plural, kind, short_names, categories, flags, columns)| {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Kind {
            group: group.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            short_names: words(short_names),
            categories: words(categories),
            namespaced: flags.contains('n'),
            versions: vec![Version {
                name: version.to_owned(),
                status: flags.contains('s'),
                columns: columns.split_whitespace().filter_map(Column::parse).collect(),
                schema: None,
            }],
            generation: flags.contains('g'),
            custom: false,
        }
    })
}
