"""The files by which the parts of a cluster are configured."""

NODE = "10.99.0.1"
SERVICE = "10.0.0.1"
SERVICES = "10.0.0.0/24"
PODS = "10.88.0.0/24"
S3 = f"http://{NODE}:9000"
KEY, SECRET = "ochre-test", "ochre-test-secret"


# As a kubelet does with static pods. The scheduler ends by itself where an outage left its cache behind; one that does
# not live for five seconds has crashed, and stays dead to be seen.
RESTARTED = [
    "sh", "-c", 'while began=$(date +%s); "$@"; [ $(($(date +%s) - began)) -ge 5 ]; do :; done', "restarted",
]


def containerd(run):
    """Debian's containerd 1.6; cgroups of version 1 want the two unusual switches."""
    plugin = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""
version = 2
root = "{run}/containerd/root"
state = "{run}/containerd/state"
[grpc]
  address = "{run}/containerd.sock"
[{plugin}]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[{plugin}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{run}/cni"
[{plugin}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[{plugin}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""


def network(run):
    """A bridge, of which the node is the gateway."""
    bridge = {
        "type": "bridge", "bridge": "pods", "isDefaultGateway": True, "hairpinMode": True,
        "ipam": {"type": "host-local", "dataDir": f"{run}/ipam", "ranges": [[{"subnet": PODS}]]},
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, {"type": "loopback"}]}


def kubelet(run, cgroup):
    """Written for a node inside namespaces: no iptables, no swap rules, no cgroups but its own."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": f"unix://{run}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{run}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{run}/pki/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{run}/pki/kubelet-server.key",
        # A nearly full disk of the machine must not drive the pods away, nor the images.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "volumePluginDir": f"{run}/volume-plugins",
    }


# Everything that the engine's own account asks for, and nothing else: a test reads it.
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "users": ["system:serviceaccount:ochre-system:ochre"]},
        {"level": "None"},
    ],
}


def components(run, programs):
    """Lists the parts in the order of their start: name and command."""
    pki = f"{run}/pki"
    own = lambda name: [f"--{use}={run}/{name}.kubeconfig" for use in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]
    kube = programs["kube"]
    return {
        "containerd": ["containerd", "--config", f"{run}/containerd.toml", "--log-level", "warn"],
        "etcd": [kube, "etcd", f"{run}/etcd", "2379"],
        # On every address, and the service address lies on loopback: pods reach it without a proxy.
        "apiserver": [
            kube, "apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0", f"--advertise-address={NODE}",
            "--secure-port=443", f"--tls-cert-file={pki}/server.crt", f"--tls-private-key-file={pki}/server.key",
            f"--client-ca-file={pki}/ca.crt", f"--kubelet-client-certificate={pki}/apiserver.crt",
            f"--kubelet-client-key={pki}/apiserver.key", f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP", f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key", f"--cert-dir={run}/generated",
            f"--audit-policy-file={run}/audit.json", f"--audit-log-path={run}/audit.jsonl",
        ],
        "controller-manager": [
            *RESTARTED, kube, "controller-manager", *own("controller-manager"), f"--service-account-private-key-file={pki}/accounts.key",
            f"--root-ca-file={pki}/ca.crt", "--use-service-account-credentials", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--cert-dir={run}/generated",
        ],
        "scheduler": [
            *RESTARTED, kube, "scheduler", *own("scheduler"), "--leader-elect=false", "--bind-address=127.0.0.1", f"--cert-dir={run}/generated",
        ],
        "kubelet": [
            kube, "kubelet", f"--config={run}/kubelet.json", f"--kubeconfig={run}/kubelet.kubeconfig",
            "--hostname-override=node1", f"--node-ip={NODE}", f"--cert-dir={run}/generated-kubelet",
        ],
        "s3": [programs["s3s-fs"], "--host", NODE, "--port", "9000", "--access-key", KEY, "--secret-key", SECRET, f"{run}/s3"],
    }
