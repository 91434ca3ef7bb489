//! What a gateway is told at its start.

use super::program::{Server, get, ochre};

#[test]
fn nothing_listens_beyond_loopback_without_authentication() {
    for arguments in [
        vec!["serve", "--listen", "0.0.0.0:0", "--authentication", "anonymous", "--kubeconfig", "nowhere"],
        vec!["sandbox", "--listen", "0.0.0.0:0", "--cluster-listen", "127.0.0.1:0"],
        vec!["sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "0.0.0.0:0"],
    ] {
        let output = ochre(&arguments, "");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {words}");
        assert!(words.contains("0.0.0.0:0 is not a loopback address"), "{words}");
    }
    let told = ["--authentication", "token", "--insecure-http"];
    let listen = ["sandbox", "--listen", "0.0.0.0:0", "--cluster-listen", "127.0.0.1:0"];
    let open = Server::start(&[&listen[..], &told].concat());
    let address = open.field("graphql").trim_end_matches("/graphql");
    assert_eq!(get(address, "/metrics").0, 404, "how it is, others are told at --health-address");
}

#[test]
fn serve_is_told_who_is_let_in_before_it_says_that_it_serves() {
    let sandbox = Server::sandbox(&["--api-only"]);
    for (authentication, says) in [
        (&[][..], "say --authentication token"),
        (&["--authentication", "anonymous,token"], "goes with no other"),
        (&["--authentication", "oidc"], "needs --oidc-issuer"),
        (&["--authentication", "token", "--oidc-ca-file", "ca.pem"], "--oidc-ca-file says something of"),
        (
            &["--authentication", "token", "--oidc-username-claim", "email"],
            "--authentication oidc, which is not",
        ),
        (
            &["--authentication", "token", "--basic-auth-file", "people"],
            "--basic-auth-file says something of",
        ),
        (&["--authentication", "token", "--audit-log", "no/such/folder/log"], "no/such/folder/log"),
        (&["--authentication", "token", "--tls-cert", "none.pem", "--tls-key", "none.pem"], "none.pem"),
    ] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--kubeconfig", sandbox.field("kubeconfig")];
        let output = ochre(&[&arguments[..], authentication].concat(), "");
        assert_eq!(output.stdout, b"", "it is not said that it serves");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{authentication:?}: {words}");
        assert!(words.contains(says), "{words}");
    }
}

#[cfg(not(feature = "opentelemetry"))]
#[test]
fn spans_are_sent_by_a_build_that_can() {
    let output = ochre(&["crd", "--otlp-endpoint", "http://127.0.0.1:4318"], "");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("--otlp-endpoint") && words.contains("--features opentelemetry"), "{words}");
}
