// Command kube is a whole Kubernetes in one program: its first argument says which part of it to be.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components are the parts that bring a command line of their own.
var components = map[string]func() *cobra.Command{
	"apiserver":          apiserver.NewAPIServerCommand,
	"controller-manager": controllers.NewControllerManagerCommand,
	"scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":            func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: kube etcd FOLDER PORT | apiserver | controller-manager | scheduler | kubelet")
	}
	name := os.Args[1]
	os.Args = append([]string{"kube-" + name}, os.Args[2:]...)
	if component, known := components[name]; known {
		os.Exit(cli.Run(component()))
	}
	if name != "etcd" || len(os.Args) != 3 {
		fail("kube: no such part: " + name)
	}
	if err := etcd(os.Args[1], os.Args[2]); err != nil {
		fail("etcd: " + err.Error())
	}
}

// etcd serves clients on a port of the loopback until it is told to end.
func etcd(folder, port string) error {
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "warn"
	// What it holds need not outlive a power cut.
	config.UnsafeNoFsync = true
	clients := []url.URL{{Scheme: "http", Host: "127.0.0.1:" + port}}
	config.ListenClientUrls, config.AdvertiseClientUrls = clients, clients
	// The only member has no peers; any free port does.
	config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		return fmt.Errorf("it is not ready after 30 s")
	}
	select {
	case <-ended:
		return nil
	case err := <-server.Err():
		return err
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
