//! How a test starts the binary, and kubectl beside it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

pub(super) const OCHRE: &str = env!("CARGO_BIN_EXE_ochre");

/// A process that serves until it is dropped.
pub(super) struct Server {
    pub(super) child: Child,
    /// Kept open: a process whose reader is gone may fail when it prints.
    _out: BufReader<ChildStdout>,
    pub(super) ready: Value,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(OCHRE)
            .args(["--log", "error"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("one line of JSON: {line}"));
        Self { child, _out: out, ready }
    }

    pub(super) fn sandbox(more: &[&str]) -> Self {
        let ports = ["sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"];
        Self::start(&[&ports, more].concat())
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("{name} in {:#}", self.ready))
    }

    /// Runs kubectl on the sandbox's cluster.
    pub(super) fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(arguments).env("KUBECONFIG", self.field("kubeconfig"));
        run(kubectl, input)
    }

    pub(super) fn wait_for(&self, phase: &str) {
        let condition = format!("--for=jsonpath={{.status.phase}}={phase}");
        text(&self.kubectl(&["wait", &condition, "action/nightly", "--timeout=60s"], ""));
    }

    pub(super) fn ask_to_run(&self) {
        text(
            &self.kubectl(&["patch", "ac", "nightly", "--type=merge", "-p", r#"{"spec":{"run":true}}"#], ""),
        );
    }

    pub(super) fn apply(&self, manifest: &str) {
        text(&self.kubectl(&["apply", "--validate=false", "-f", "-"], manifest));
    }

    /// Asks the process to stop, and tells whether it ended well.
    pub(super) fn terminate(&mut self) -> bool {
        ask_to_stop(&self.child) && self.child.wait().is_ok_and(|ended| ended.success())
    }
}

impl Drop for Server {
    /// Asks instead of killing: a sandbox clears its folder away when it ends.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}

/// Sends SIGTERM, and tells whether that was possible.
pub(super) fn ask_to_stop(process: &Child) -> bool {
    let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
    asked.is_ok_and(|asked| asked.success())
}

pub(super) fn ochre(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(OCHRE);
    command.args(arguments);
    run(command, input)
}

pub(super) fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(super) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks for a page as simply as a probe does.
pub(super) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
