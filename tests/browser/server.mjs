// Starts `ochre sandbox`, whose binary is OCHRE_BINARY; tests/browser/run sets it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export async function start(t, ...flags) {
  const listen = ['--listen', '127.0.0.1:0', '--cluster-listen', '127.0.0.1:0'];
  const server = spawn(process.env.OCHRE_BINARY, ['--log', 'error', 'sandbox', ...listen, ...flags], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(server, 'exit');
  t.after(() => (server.kill('SIGTERM'), ended));
  const ready = once(createInterface(server.stdout), 'line').then(([line]) => JSON.parse(line));
  return Promise.race([ready, ended.then(([code]) => Promise.reject(new Error(`it ended with ${code}`)))]);
}

// Makes a ServiceAccount that may do some things everywhere, and a token of it.
export async function person(cluster, name, rules) {
  const post = async (path, kind, metadata, more) => {
    const apiVersion = path.startsWith('/apis/') ? path.split('/').slice(2, 4).join('/') : 'v1';
    const body = JSON.stringify({ apiVersion, kind, metadata, ...more });
    const answer = await fetch(cluster + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  const accounts = '/api/v1/namespaces/default/serviceaccounts';
  const rbac = 'rbac.authorization.k8s.io';
  await post(accounts, 'ServiceAccount', { name });
  await post(`/apis/${rbac}/v1/clusterroles`, 'ClusterRole', { name }, { rules });
  await post(`/apis/${rbac}/v1/clusterrolebindings`, 'ClusterRoleBinding', { name }, {
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', name, namespace: 'default' }],
  });
  const request = await post(`${accounts}/${name}/token`, 'TokenRequest', {}, {
    apiVersion: 'authentication.k8s.io/v1',
    spec: {},
  });
  return request.status.token;
}
