const { pgTable, pgEnum, pgView, serial, bigint, integer, varchar, text, numeric, timestamp, boolean, jsonb, index, uniqueIndex, check, primaryKey, unique } = require('drizzle-orm/pg-core');
const { sql } = require('drizzle-orm');
const mood = pgEnum('mood', ['sad', 'ok', 'happy']);
const users = pgTable('users', {
  id: serial('id').primaryKey(),
  name: varchar('name', { length: 80 }).notNull(),
  mood: mood('mood').default('happy'),
  joined: timestamp('joined', { withTimezone: true }).defaultNow().notNull(),
  email: text('email').unique(),
  tags: text('tags').array(),
}, (t) => [uniqueIndex('users_name').on(t.name), index('users_joined').on(t.joined.desc()), index('users_lower').on(sql`lower(${t.name})`)]);
const orders = pgTable('orders', {
  id: serial('id').primaryKey(),
  userId: integer('user_id').notNull().references(() => users.id, { onDelete: 'set null', onUpdate: 'cascade' }),
  total: numeric('total', { precision: 12, scale: 2 }).default('0').notNull(),
  note: text('note').notNull().default('none'),
  paid: boolean('paid').default(true),
  data: jsonb('data').default({ a: 1 }),
}, (t) => [check('total_positive', sql`${t.total} >= 0`)]);
const lines = pgTable('lines', {
  orderId: integer('order_id').notNull().references(() => orders.id),
  number: integer('number').notNull(),
  product: bigint('product', { mode: 'number' }).generatedAlwaysAsIdentity(),
  twice: integer('twice').generatedAlwaysAs(sql`number * 2`),
}, (t) => [primaryKey({ columns: [t.orderId, t.number] }), unique('lines_product').on(t.product)]);
const totals = pgView('totals', { id: integer('id'), total: numeric('total') }).as(sql`select user_id as id, sum(total) as total from orders group by user_id`);
module.exports = { mood, users, orders, lines, totals };
