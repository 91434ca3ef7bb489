//! Whose rights a workflow really has beyond Velero's objects.

use ochre::options::GatewayOptions;
use ochre_core::phase::Phase;
use ochre_tests::{KEEPING, World, keeping, ochre};

#[tokio::test]
async fn an_account_may_do_what_its_printed_role_grants_and_nothing_else() {
    let world = World::empty().await;
    world.account("keeper", &[]).await;
    let engine = world.engine_of(keeping(), GatewayOptions::default()).await;
    // The engine itself may read and create ConfigMaps, and lends nobody that.
    engine.keep("bare", Some("keeper")).await.data();
    let status = world.ended("bare").await;
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
    let message = status.message.unwrap();
    for part in
        ["system:serviceaccount:default:keeper may not", "configmaps in default", "resources: [configmaps]"]
    {
        assert!(message.contains(part), "`{part}` is not said in: {message}");
    }

    let arguments =
        ["catalog", "rbac", "cap.interface.test.keep", "--content", KEEPING, "--service-account", "keeper"];
    let folder = tempfile::tempdir().unwrap();
    let role = folder.path().join("role.yaml");
    std::fs::write(&role, ochre(&arguments).await).unwrap();
    world.kubectl(&["apply", "-f", role.to_str().unwrap()]).await;
    engine.keep("kept", Some("keeper")).await.data();
    world.succeeded("kept").await;

    // What is taken away holds at once.
    world.kubectl(&["delete", "-f", role.to_str().unwrap()]).await;
    engine.keep("again", Some("keeper")).await.data();
    assert_eq!(world.ended("again").await.steps[0].reason.as_deref(), Some("Forbidden"));
}
