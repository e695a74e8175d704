// SCHEMA names the state to go to; DATABASE_URL the server.
module.exports = {
  dialect: 'postgresql',
  schema: `./${process.env.SCHEMA}.js`,
  out: './migrations',
  dbCredentials: { url: process.env.DATABASE_URL },
};
