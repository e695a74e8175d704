const { pgTable, pgEnum, serial, integer, varchar, text, numeric, timestamp, boolean, uniqueIndex } = require('drizzle-orm/pg-core');
const mood = pgEnum('mood', ['sad', 'ok']);
const users = pgTable('users', {
  id: serial('id').primaryKey(),
  name: varchar('name', { length: 40 }).notNull(),
  mood: mood('mood').default('ok'),
  joined: timestamp('joined', { withTimezone: true }).defaultNow().notNull(),
}, (t) => [uniqueIndex('users_name').on(t.name)]);
const orders = pgTable('orders', {
  id: serial('id').primaryKey(),
  userId: integer('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  total: numeric('total', { precision: 10, scale: 2 }).default('0'),
  note: text('note'),
  paid: boolean('paid').default(false),
});
module.exports = { mood, users, orders };
