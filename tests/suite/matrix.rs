//! Roles against operations: what the shipped roles let their owners do, in a namespace of theirs, in another's, in one
//! that is gone, and in all of them.

use ochre_tests::{Engine, Event, Events, Person, World, shipped};
use serde_json::{Value, json};

/// What is granted to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Nobody,
    /// May look, in their own namespace.
    Viewer,
    /// May run, save and restore, in their own namespace.
    Editor,
    /// May look and approve, in their own namespace.
    Approver,
    /// An editor who may restore a namespace that is gone, too.
    Rescuer,
    /// An editor of the whole cluster.
    Operator,
}

/// Where something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    Foreign,
    Gone,
    All,
}

const ROLES: [Role; 6] =
    [Role::Nobody, Role::Viewer, Role::Editor, Role::Approver, Role::Rescuer, Role::Operator];

/// The namespaces whose roles everybody has who has any: that of the Actions, and that of the application.
const OWN: [&str; 2] = ["default", "chat"];

/// Operations on Actions, each with its verb; none of them finds anything.
const OPERATIONS: [(&str, &str); 8] = [
    ("get", "{ action(name: \"none\") { name } }"),
    ("list", "{ actions { name } }"),
    ("list", "{ actionsConnection { totalCount } }"),
    ("list", "{ storageLocations { name } }"),
    ("watch", "subscription { actionChanged(name: \"none\") { name } }"),
    ("run", "mutation { runAction(name: \"none\") { name } }"),
    ("cancel", "mutation { cancelAction(name: \"none\") { name } }"),
    ("delete", "mutation { deleteAction(name: \"none\") { name } }"),
];

/// Restores and backups, each with where it takes something from, and where it puts it.
const RUNS: [(&str, &str, &[Place]); 10] = [
    ("backup", r#"{"includeNamespaces": "chat"}"#, &[Place::Own]),
    ("backup", r#"{"includeNamespaces": "foreign"}"#, &[Place::Foreign]),
    ("backup", r#"{"includeNamespaces": "gone"}"#, &[Place::Gone]),
    ("backup", "{}", &[Place::All]),
    ("restore", r#"{"includeNamespaces": "chat"}"#, &[Place::Own]),
    ("restore", r#"{"includeNamespaces": "foreign"}"#, &[Place::Foreign]),
    ("restore", r#"{"includeNamespaces": "gone"}"#, &[Place::Gone]),
    ("restore", r#"{"includeNamespaces": "*"}"#, &[Place::All]),
    (
        "restore",
        r#"{"includeNamespaces": "chat", "namespaceMapping": {"chat": "foreign"}}"#,
        &[Place::Own, Place::Foreign],
    ),
    (
        "restore",
        r#"{"includeNamespaces": "gone", "namespaceMapping": {"gone": "chat"}}"#,
        &[Place::Gone, Place::Own],
    ),
];

impl Role {
    /// Says whether it should let its owner do something with Actions.
    fn may(self, verb: &str, place: Place) -> bool {
        let looks = ["get", "list", "watch"].contains(&verb);
        match self {
            Self::Nobody => false,
            Self::Viewer => place == Place::Own && looks,
            Self::Approver => place == Place::Own && (looks || verb == "approve"),
            Self::Editor | Self::Rescuer => place == Place::Own && verb != "approve",
            Self::Operator => verb != "approve",
        }
    }

    /// Says whether it should let its owner save or restore.
    fn may_move(self, place: Place) -> bool {
        match self {
            Self::Nobody | Self::Viewer | Self::Approver => false,
            Self::Editor => place == Place::Own,
            Self::Rescuer => matches!(place, Place::Own | Place::Gone),
            Self::Operator => true,
        }
    }

    /// Lists the shipped roles that it has, and where; without a place, everywhere.
    fn grants(self) -> Vec<(&'static str, Option<&'static str>)> {
        let own = |roles: &[&'static str]| {
            roles.iter().flat_map(|role| OWN.map(|namespace| (*role, Some(namespace)))).collect()
        };
        match self {
            Self::Nobody => Vec::new(),
            Self::Viewer => own(&["ochre-viewer"]),
            Self::Editor | Self::Rescuer => own(&["ochre-viewer", "ochre-editor"]),
            Self::Approver => own(&["ochre-viewer", "ochre-approver"]),
            Self::Operator => vec![("ochre-viewer", None), ("ochre-editor", None)],
        }
    }
}

impl Place {
    /// Names the namespace, of Actions and of what is saved.
    fn namespaces(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Own => Some(("default", "chat")),
            Self::Foreign => Some(("foreign", "foreign")),
            Self::Gone => Some(("gone", "gone")),
            Self::All => None,
        }
    }
}

/// Makes somebody with a role, and with what Kubernetes' role gives them to which it is added.
async fn person(world: &World, role: Role) -> Person {
    let person = world.person(&format!("{role:?}").to_lowercase()).await;
    for (name, namespace) in role.grants() {
        for rule in shipped(name) {
            world.grant_rule(&person, namespace, rule).await;
        }
    }
    match role {
        Role::Editor | Role::Rescuer => {
            for namespace in OWN {
                world.grant_edit(&person, Some(namespace)).await;
            }
        }
        Role::Operator => world.grant_edit(&person, None).await,
        Role::Nobody | Role::Viewer | Role::Approver => {}
    }
    if role == Role::Rescuer {
        let of_the_gone = json!({
            "apiGroups": ["core.ochre.dev"], "resources": ["targets"], "resourceNames": ["gone"],
            "verbs": ["backup", "restore", "escalate"],
        });
        world.grant_rule(&person, None, of_the_gone).await;
    }
    person
}

/// Reads the code of the only error, if there is one.
fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

/// Tells whether somebody is let do something in a namespace.
async fn is_let(engine: &Engine, person: &Person, namespace: &str, query: &str) -> bool {
    if !query.starts_with("subscription") {
        return code(&engine.graphql_by_in(person, namespace, query).await.body) != "FORBIDDEN";
    }
    let request = reqwest::Client::new()
        .post(format!("{}/graphql", engine.url))
        .header("authorization", &person.authorization)
        .header("namespace", namespace)
        .header("accept", "text/event-stream")
        .json(&json!({"query": query}));
    let first = Events::new(request.send().await.unwrap()).next().await;
    let Some(Event::Next(answer)) = first else { unreachable!("no answer: {first:?}") };
    code(&answer) != "FORBIDDEN"
}

/// Tells whether somebody is let run something, to its very end.
async fn is_let_run(world: &World, engine: &Engine, person: &Person, name: &str, parameters: Value) -> bool {
    let answer = engine.run_by(person, name, parameters).await;
    if code(&answer.body) == "FORBIDDEN" {
        return false;
    }
    answer.data();
    let status = world.ended(name).await;
    // A backup that may not be seen is as one that is not there.
    let refused = [Some("Forbidden"), Some("NotFound")];
    status.steps.iter().all(|step| !refused.contains(&step.reason.as_deref()))
}

#[tokio::test]
async fn each_role_lets_its_owner_do_what_it_is_for_and_nothing_else() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    for namespace in ["foreign", "gone"] {
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
        let metadata = json!({"name": "data", "namespace": namespace});
        world.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).await;
    }
    let mut people = Vec::new();
    for role in ROLES {
        people.push((role, person(&world, role).await));
    }
    let (_, operator) = people.last().unwrap();
    let held = json!({
        "action": "backup", "name": "held", "includeNamespaces": "chat,foreign,gone", "includeResources": "configmaps",
    });
    engine.run_by(operator, "make-held", held).await.data();
    world.succeeded("make-held").await;
    world.delete_namespaces(&["gone".to_owned()]).await;

    let mut wrong = Vec::new();
    let mut note = |role: Role, what: String, seen: bool, expected: bool| {
        if seen != expected {
            wrong.push(format!("{role:?}: {what}: expected {expected}, seen {seen}"));
        }
    };
    for (role, person) in &people {
        for place in [Place::Own, Place::Foreign, Place::Gone] {
            let (namespace, _) = place.namespaces().unwrap();
            for (verb, query) in OPERATIONS {
                let seen = is_let(&engine, person, namespace, query).await;
                note(*role, format!("{query} in {place:?}"), seen, role.may(verb, place));
            }
            let create = "mutation { createAction(in: {name: \"by-NAME\", actionRef: {path: \"cap.interface.data.backup\"}, input: {parameters: \"{\\\"action\\\":\\\"backup\\\",\\\"name\\\":\\\"b\\\"}\"}}) { name } }";
            let create = create.replace("NAME", &format!("{role:?}").to_lowercase());
            let seen = is_let(&engine, person, namespace, &create).await;
            note(*role, format!("createAction in {place:?}"), seen, role.may("create", place));
            for verb in ["get", "list", "watch", "create", "delete", "run", "cancel", "approve"] {
                let asked = format!("{{ canI(verb: {}) }}", verb.to_uppercase());
                let seen = engine.graphql_by_in(person, namespace, &asked).await.data()["canI"] == true;
                note(*role, format!("canI {verb} in {place:?}"), seen, role.may(verb, place));
            }
        }
        for place in [Place::Own, Place::Foreign, Place::Gone, Place::All] {
            let namespaces: Vec<&str> = place.namespaces().map(|(_, target)| target).into_iter().collect();
            for verb in ["BACKUP", "RESTORE"] {
                let query = format!("{{ canI(verb: {verb}, namespaces: {}) }}", json!(namespaces));
                let seen = engine.graphql_by_in(person, "default", &query).await.data()["canI"] == true;
                note(*role, format!("canI {verb} of {place:?}"), seen, role.may_move(place));
            }
        }
        for (number, (verb, parameters, places)) in RUNS.iter().enumerate() {
            let name = format!("{}-{number}", format!("{role:?}").to_lowercase());
            let mut given: Value = serde_json::from_str(parameters).unwrap();
            // Who may is let do it, and finds nothing.
            given["selector"] = json!("none=such");
            given["action"] = json!(verb);
            given["syncTimeout"] = json!("1ms");
            // Secrets are asked for apart (`access`); a namespace that is gone has none to be granted.
            given["excludeResources"] = json!("secrets");
            given["name"] = json!(if *verb == "restore" { "held" } else { &name });
            let seen = is_let_run(&world, &engine, person, &name, given).await;
            let expected = role.may("run", Place::Own) && places.iter().all(|place| role.may_move(*place));
            note(*role, format!("{verb} {parameters}"), seen, expected);
        }
    }
    assert!(wrong.is_empty(), "{} of them are not as expected:\n{}", wrong.len(), wrong.join("\n"));
}
