use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;

#[tokio::test]
async fn a_sandbox_serves_until_it_is_told_to_stop() {
    let data = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sandbox = Sandbox::start(Options::new(data.path()), &format!("http://{address}")).await.unwrap();
    demo::install(sandbox.client()).await.unwrap();
    demo::install(sandbox.client()).await.unwrap();
    let shutdown = CancellationToken::new();
    let (served, ()) = tokio::join!(sandbox.serve(listener, shutdown.clone()), async {
        let config: kube::config::Kubeconfig = serde_saphyr::from_str(&kubeconfig(address)).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
                .await
                .unwrap();
        let client = Client::try_from(config).unwrap();
        let claims =
            kube::Api::<k8s_openapi::api::core::v1::PersistentVolumeClaim>::namespaced(client, "chat");
        let claim = claims.get("data-mongodb-0").await.unwrap();
        assert_eq!(claim.status.unwrap().phase.as_deref(), Some("Bound"));
        let mut watch = Box::pin(claims.watch(&kube::api::WatchParams::default(), "0").await.unwrap());
        futures::StreamExt::next(&mut watch).await.unwrap().unwrap();
        shutdown.cancel();
        assert!(futures::StreamExt::next(&mut watch).await.is_none(), "the open watch ends");
    });
    served.unwrap();
    sandbox.shutdown().await;
}
