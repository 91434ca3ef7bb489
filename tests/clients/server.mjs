// Where the server is that the tests ask: OCHRE_GRAPHQL, which tests/clients/run sets.

export const url = process.env.OCHRE_GRAPHQL;
if (!url) throw new Error('OCHRE_GRAPHQL is not set; start the tests by tests/clients/run');
