//! What is listed: Actions by pages, and what Velero has.

use kube::api::{Patch, PatchParams};
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

/// Reads a page; yields the names on it, and the rest of what is said about it.
async fn page(engine: &Engine, arguments: Value) -> (Vec<String>, Value) {
    let query = "query($first: Int, $after: String, $last: Int, $before: String, $filter: ActionFilter, $orderBy: ActionOrder! = NAME) {
        actionsConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
            edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount
        }
    }";
    let mut found = engine.graphql(query, arguments).await.data()["actionsConnection"].take();
    let edges = found["edges"].take();
    let names =
        edges.as_array().unwrap().iter().map(|edge| edge["node"]["name"].as_str().unwrap().to_owned());
    (names.collect(), found)
}

/// Makes Actions that wait to be run.
async fn make(engine: &Engine, names: &[&str]) {
    for name in names {
        let input = json!({
            "name": name, "actionRef": {"path": "cap.interface.data.backup"},
            "input": {"parameters": {"action": "backup", "name": name, "selector": "a=b"}},
        });
        engine.create_action(input).await.data();
    }
}

#[tokio::test]
async fn pages_follow_each_other_whatever_changes_beside_them() {
    let world = World::empty().await;
    let engine = world.engine().await;
    make(&engine, &["a", "b", "c", "d", "e"]).await;
    let (names, first) = page(&engine, json!({"first": 2})).await;
    assert_eq!(names, ["a", "b"]);
    assert_eq!(first["totalCount"], 5);
    let info = &first["pageInfo"];
    assert_eq!((&info["hasNextPage"], &info["hasPreviousPage"]), (&json!(true), &json!(false)));

    // What the cursor stood on goes, and something comes before it and behind it.
    engine.on("deleteAction", "b").await.data();
    make(&engine, &["aa", "bb"]).await;
    let (names, second) = page(&engine, json!({"first": 2, "after": info["endCursor"]})).await;
    assert_eq!(names, ["bb", "c"]);
    let (names, third) = page(&engine, json!({"first": 2, "after": second["pageInfo"]["endCursor"]})).await;
    assert_eq!(names, ["d", "e"]);
    assert_eq!(third["pageInfo"]["hasNextPage"], false);
    let (names, _) = page(&engine, json!({"last": 2, "before": third["pageInfo"]["startCursor"]})).await;
    assert_eq!(names, ["bb", "c"]);
    let (names, none) = page(&engine, json!({"after": third["pageInfo"]["endCursor"]})).await;
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(none["pageInfo"]["endCursor"], Value::Null);
}

#[tokio::test]
async fn a_page_is_a_part_of_the_whole_order() {
    let world = World::empty().await;
    let engine = world.engine().await;
    make(&engine, &["d", "b", "e", "a", "c"]).await;
    assert_eq!(are_parts_of_the_whole(&engine, "NAME").await, ["a", "b", "c", "d", "e"]);
    let mut oldest = are_parts_of_the_whole(&engine, "OLDEST_FIRST").await;
    oldest.reverse();
    assert_eq!(are_parts_of_the_whole(&engine, "NEWEST_FIRST").await, oldest);
}

/// Holds pages of every size between any two of five Actions against their whole order; yields that.
async fn are_parts_of_the_whole(engine: &Engine, order: &str) -> Vec<String> {
    let (all, whole) = page(engine, json!({"orderBy": order})).await;
    assert_eq!((all.len(), &whole["totalCount"]), (5, &json!(5)));
    let mut cursors = Vec::new();
    for count in 1..=all.len() {
        let (_, mut found) = page(engine, json!({"first": count, "orderBy": order})).await;
        cursors.push(found["pageInfo"]["endCursor"].take());
    }
    let places = || (0..cursors.len()).map(Some).chain([None]);
    let sizes =
        [(None, None), (Some(0), None), (Some(2), None), (Some(9), None), (None, Some(0)), (None, Some(2))];
    for ((first, last), after, before) in sizes
        .into_iter()
        .flat_map(|size| places().flat_map(move |after| places().map(move |before| (size, after, before))))
    {
        let cursor = |place: Option<usize>| place.map(|place| &cursors[place]);
        let (start, end) = (after.map_or(0, |after| after + 1), before.unwrap_or(all.len()));
        let within = &all[start.min(end)..end];
        let shown = match (first, last) {
            (Some(count), _) => &within[..within.len().min(count)],
            (_, Some(count)) => &within[within.len().saturating_sub(count)..],
            (None, None) => within,
        };
        let (after, before) = (cursor(after), cursor(before));
        let asked = json!({"first": first, "last": last, "after": after, "before": before, "orderBy": order});
        let (names, found) = page(engine, asked.clone()).await;
        assert_eq!(names, shown, "{asked}");
        let has = |flag: &str| found["pageInfo"][flag] == true;
        let is_cut = shown.len() < within.len();
        assert_eq!(has("hasPreviousPage"), start > 0 || (last.is_some() && is_cut), "{asked}: {found}");
        assert_eq!(has("hasNextPage"), end < all.len() || (first.is_some() && is_cut), "{asked}: {found}");
    }
    all
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let world = World::empty().await;
    let engine = world.engine().await;
    make(&engine, &["a"]).await;
    let (_, found) = page(&engine, json!({})).await;
    let cursor = found["pageInfo"]["endCursor"].as_str().unwrap();
    for (arguments, code, says) in [
        ("first: 101".to_owned(), "LIMIT_EXCEEDED", "at most 100"),
        ("first: 1, last: 1".to_owned(), "BAD_USER_INPUT", "not both"),
        ("first: -1".to_owned(), "BAD_USER_INPUT", "first"),
        ("after: \"?\"".to_owned(), "BAD_USER_INPUT", "no cursor"),
        ("filter: {labels: \"a in\"}".to_owned(), "BAD_USER_INPUT", "labels: "),
        (format!("after: \"{cursor}\", orderBy: OLDEST_FIRST"), "BAD_USER_INPUT", "another order"),
    ] {
        let query = format!("{{ actionsConnection({arguments}) {{ totalCount }} }}");
        engine.graphql(&query, json!({})).await.refuses(code, &[says]);
    }
}

#[tokio::test]
async fn actions_are_found_by_label_and_time() {
    let world = World::empty().await;
    let engine = world.engine().await;
    make(&engine, &["a", "b"]).await;
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "blue"}}}));
    world.actions("default").patch("b", &PatchParams::default(), &labelled).await.unwrap();
    engine.catch_up().await;
    for (filter, names) in [
        (json!({"labels": "team=blue"}), vec!["b"]),
        (json!({"labels": "!team"}), vec!["a"]),
        (json!({"createdAfter": "2020-01-01T00:00:00Z"}), vec!["a", "b"]),
        (json!({"createdBefore": "2020-01-01T00:00:00Z"}), vec![]),
        (json!({"createdBy": "nobody"}), vec![]),
    ] {
        assert_eq!(page(&engine, json!({"filter": filter})).await.0, names, "{filter}");
        assert_eq!(engine.names(filter.clone()).await, names, "{filter}");
    }
}

#[tokio::test]
async fn what_velero_has_is_listed_with_what_made_it() {
    let world = World::start().await;
    let engine = world.engine().await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": "helm.sh/chart=mongodb-10.3.1"});
    engine.create("nightly", None, parameters).await.data();
    world.succeeded("nightly").await;
    world.lose_application().await;
    engine.create("bring-back", None, json!({"action": "restore", "name": "mongo"})).await.data();
    world.succeeded("bring-back").await;
    world.create(json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "by-hand", "namespace": "velero"},
        "spec": {"includedNamespaces": ["no-such"], "storageLocation": "nowhere"},
    }))
    .await;
    let query = "{
        storageLocations { name isDefault isReadOnly phase message }
        backups(filter: {backupName: \"mongo\"}) {
            name backupName namespaces storageLocation status { phase errors itemsDone itemsTotal } action { name status { phase } }
        }
        restores { backupName status { phase } action { name } }
        byHand: backups(filter: {namespace: \"no-such\"}) { name action { name } }
        first: backups(first: 1) { name }
        none: backups(first: 0) { name }
    }";
    let mut found = engine.graphql(query, json!({})).await.data();
    let items = found["backups"][0]["status"]["itemsTotal"].take();
    assert_eq!(found["backups"][0]["status"]["itemsDone"].take(), items);
    assert!(items.as_u64() > Some(0), "{found:#}");
    let namespaces = found["backups"][0]["namespaces"].take();
    assert!(namespaces.is_array(), "{namespaces}");
    assert_eq!(
        found,
        json!({
            "storageLocations": [
                {"name": "default", "isDefault": true, "isReadOnly": false, "phase": "Available", "message": null},
            ],
            "backups": [{
                "name": "mongo", "backupName": "mongo", "namespaces": null, "storageLocation": "default",
                "status": {"phase": "Completed", "errors": 0, "itemsDone": null, "itemsTotal": null},
                "action": {"name": "nightly", "status": {"phase": "SUCCEEDED"}},
            }],
            "restores": [
                {"backupName": "mongo", "status": {"phase": "Completed"}, "action": {"name": "bring-back"}},
            ],
            "byHand": [{"name": "by-hand", "action": null}],
            "first": [{"name": "by-hand"}],
            "none": [],
        })
    );
    let many = engine.graphql("{ backups(first: 101) { name } }", json!({})).await;
    many.refuses("LIMIT_EXCEEDED", &["at most 100"]);
}
