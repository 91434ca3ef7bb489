//! Whose rights a workflow really has beyond Velero's objects.

use ochre::options::GatewayOptions;
use ochre_core::phase::Phase;
use ochre_tests::{KEEPING, World, keeping, ochre};

#[tokio::test]
async fn an_account_may_do_what_its_printed_role_grants_and_nothing_else() {
    let world = World::empty().await;
    world.unlent_account("keeper", &[]).await;
    let engine = world.engine_of(keeping(), GatewayOptions::default()).await;
    let is_forbidden = async |name: &str, says: &[&str]| {
        engine.keep(name, Some("keeper")).await.data();
        let status = world.ended(name).await;
        assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
        let message = status.message.unwrap();
        for part in says {
            assert!(message.contains(part), "`{part}` is not said in: {message}");
        }
    };
    // No account is the engine's to use before its owner says so.
    let unlent = [
        "the engine may not act as the ServiceAccount keeper of default",
        "resourceNames: [keeper], verbs: [impersonate]",
    ];
    is_forbidden("unlent", &unlent).await;
    // The engine itself may read and create ConfigMaps, and lends nobody that.
    world.lend("keeper").await;
    let bare =
        ["system:serviceaccount:default:keeper may not", "configmaps in default", "resources: [configmaps]"];
    is_forbidden("bare", &bare).await;
    world.revoke_all().await;

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
    is_forbidden("again", &unlent).await;
}
