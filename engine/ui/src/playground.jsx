// The page: who asks and about which namespace, and below it GraphiQL.

import { GraphiQL } from 'graphiql';
import { useEffect, useRef, useState } from 'react';
import { makeAccessible } from './accessible.js';
import { connect } from './connection.js';
import { CATALOG, tabs } from './tabs.js';

export function Playground() {
  // A token is nowhere but here, and gone with the page.
  const [caller, setCaller] = useState({ namespace: 'default', token: '' });
  const [state, setState] = useState({});
  useEffect(() => {
    let isCurrent = true;
    const connection = connect(caller);
    const tell = (told) => isCurrent && setState(told);
    connection.ask(CATALOG).then(
      (catalog) => tell({ fetcher: connection.fetcher, tabs: tabs(catalog) }),
      (error) => tell({ refusal: error.message }),
    );
    return () => {
      isCurrent = false;
      connection.close();
    };
  }, [caller]);
  const main = useRef(null);
  useEffect(() => makeAccessible(main.current), []);
  return (
    <>
      <Caller caller={caller} onChange={setCaller} />
      <main ref={main}>
        {state.refusal && <p role="alert">The server says: {state.refusal}</p>}
        {state.fetcher && <Editor {...state} />}
      </main>
    </>
  );
}

function Caller({ caller, onChange }) {
  const submit = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    onChange({ namespace: given.get('namespace').trim() || 'default', token: given.get('token').trim() });
  };
  return (
    <header>
      <h1>ochre</h1>
      <form onSubmit={submit}>
        <label>
          Namespace
          <input name="namespace" defaultValue={caller.namespace} spellCheck="false" autoComplete="off" />
        </label>
        <label>
          Token
          <input name="token" type="password" autoComplete="off" placeholder="where the server asks for one" />
        </label>
        <button type="submit">Connect</button>
      </form>
    </header>
  );
}

function Editor({ fetcher, tabs }) {
  return (
    <GraphiQL
      fetcher={fetcher}
      defaultTabs={tabs}
      defaultEditorToolsVisibility={false}
      isHeadersEditorEnabled={false}
      shouldPersistHeaders={false}
      // What is typed lasts as long as the browser's tab, so that a new one begins with the catalog's tabs.
      storage={sessionStorage}
    >
      <GraphiQL.Logo>{null}</GraphiQL.Logo>
    </GraphiQL>
  );
}
