"""PyPI's gql, as pipelines use it: HTTP by aiohttp for one answer, a WebSocket for many."""

import asyncio
import os
import unittest

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

URL = os.environ["OCHRE_GRAPHQL"]

READ = gql("query Read($name: String!) { action(name: $name) { name status { phase } } }")
CREATE = gql("mutation Create($in: ActionDetailsInput) { createAction(in: $in) { name } }")
FOLLOW = gql("subscription Follow($name: String!) { actionChanged(name: $name) { status { phase message } } }")


def http():
    # It fetches the schema too, and checks what it sends against it.
    return Client(transport=AIOHTTPTransport(url=URL), fetch_schema_from_transport=True)


def socket():
    transport = WebsocketsTransport(
        url=URL.replace("http", "ws", 1),
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    return Client(transport=transport)


def of(document, **variables):
    document.variable_values = variables
    return document


class Gql(unittest.TestCase):
    def test_it_backs_up(self):
        asyncio.run(self.back_up())

    def test_it_is_told_what_is_wrong(self):
        asyncio.run(self.be_told())

    async def back_up(self):
        name, phases = "gql", []
        async with http() as one, socket() as many:
            self.assertIsNone((await one.execute(of(READ, name=name)))["action"])
            async for answer in many.subscribe(of(FOLLOW, name=name)):
                action = answer["actionChanged"]
                if action is None:
                    parameters = {"action": "backup", "name": name, "selector": "helm.sh/chart=mongodb-10.3.1"}
                    created = {
                        "name": name,
                        "run": True,
                        "actionRef": {"path": "cap.interface.data.backup"},
                        "input": {"parameters": parameters},
                    }
                    await one.execute(of(CREATE, **{"in": created}))
                    continue
                phases.append(action["status"]["phase"])
                if phases[-1] in ("SUCCEEDED", "FAILED", "CANCELED"):
                    break
            self.assertEqual(phases[-1], "SUCCEEDED")
            self.assertIn("RUNNING", phases)
            self.assertEqual((await one.execute(of(READ, name=name)))["action"]["status"]["phase"], "SUCCEEDED")

    async def be_told(self):
        async with Client(transport=AIOHTTPTransport(url=URL)) as one, socket() as many:
            for client in (one, many):
                with self.assertRaises(TransportQueryError) as wrong:
                    await client.execute(gql("{ colour }"))
                self.assertEqual(wrong.exception.errors[0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED")


if __name__ == "__main__":
    unittest.main(verbosity=2)
