// The tabs that the page begins with: what can be run by this server's catalog.

const BACKUP = 'cap.interface.data.backup';
const APPLICATION = 'helm.sh/chart=mongodb-10.3.1';

export const CATALOG = `{
  interfaces {
    path
    latestRevision {
      revision
      spec { input { parameters { resolvedSchema } } }
      implementationRevisions { revision }
    }
  }
}`;

export function tabs({ interfaces }) {
  const runnable = interfaces.filter(({ latestRevision }) => latestRevision?.implementationRevisions.length);
  return [...runnable.flatMap(tabsOf), { query: ACTIONS }];
}

function tabsOf({ path, latestRevision: { revision, spec } }) {
  if (path === BACKUP) {
    const name = 'mongo';
    return [
      tab('CreateMongoDBBackup', 'backup-mongo', path, revision, { action: 'backup', name, selector: APPLICATION }),
      tab('RestoreMongoDBBackup', 'restore-mongo', path, revision, { action: 'restore', name }),
    ];
  }
  const name = path.split('.').at(-1);
  const schema = spec.input.parameters[0]?.resolvedSchema ?? {};
  return [tab(`Create_${name.replace(/\W/g, '_')}`, `try-${name}`, path, revision, example(schema))];
}

function tab(operation, name, path, revision, parameters) {
  const query = `# The button to the right has a menu:
# run these one after the other.

mutation ${operation} {
  createAction(
    in: {
      name: "${name}"
      actionRef: {
        path: "${path}"
        revision: "${revision}"
      }
      input: {
        parameters: ${literal(parameters)}
      }
    }
  ) {
    name
    input {
      parameters
    }
  }
}

mutation Run {
  runAction(name: "${name}") {
    name
  }
}

# How it is now, and every change.
subscription Follow {
  actionChanged(name: "${name}") {
    name
    status {
      phase
      message
      runner {
        status
      }
    }
  }
}

mutation Delete {
  deleteAction(name: "${name}") {
    name
  }
}
`;
  return { query };
}

// Words parameters as GraphQL does; what has keys that are no names there, as a text.
function literal(parameters) {
  const fields = Object.entries(parameters);
  if (!fields.every(([key, value]) => /^[_a-z]\w*$/i.test(key) && Object(value) !== value)) {
    return JSON.stringify(JSON.stringify(parameters));
  }
  return `{${fields.map(([key, value]) => `\n          ${key}: ${JSON.stringify(value)}`).join('')}\n        }`;
}

const ACTIONS = `query Actions {
  actions {
    name
    createdAt
    actionRef {
      path
      revision
    }
    status {
      phase
      message
    }
  }
}

# Those there are, and then whatever becomes of them.
subscription FollowAll {
  actionsChanged {
    kind
    name
    action {
      status {
        phase
        message
      }
    }
  }
}
`;

// Makes parameters that a schema may take: what it requires, by its own examples.
function example(schema) {
  if (schema.examples?.length) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum?.length) return schema.enum[0];
  switch ([schema.type].flat()[0]) {
    case 'string': return '';
    case 'boolean': return false;
    case 'integer': case 'number': return schema.minimum ?? 0;
    case 'array': return [];
    default: {
      const required = schema.required ?? [];
      return Object.fromEntries(required.map((name) => [name, example(schema.properties?.[name] ?? {})]));
    }
  }
}
