import java.io.*;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.*;

/**
 * What BI tools and applications do through the JDBC driver, one named check after the other. Each prints what it saw as
 * "#### name" and lines; the runner compares them with what it sees on PostgreSQL.
 */
public class Metadata {
    static Connection connection;
    static String host, port;

    interface Check { void run() throws Exception; }

    static void check(String name, Check check) throws SQLException {
        System.out.println("#### " + name);
        try {
            check.run();
        } catch (SQLException error) {
            System.out.println("SQLException " + error.getSQLState() + " " + error.getMessage().split("\n")[0]);
        } catch (Exception error) {
            System.out.println(error.getClass().getName() + " " + error.getMessage());
        }
        if (!connection.getAutoCommit()) {
            connection.rollback();
            connection.setAutoCommit(true);
        }
    }

    static void rows(ResultSet rows) throws SQLException {
        ResultSetMetaData meta = rows.getMetaData();
        StringBuilder head = new StringBuilder();
        for (int i = 1; i <= meta.getColumnCount(); i++) head.append(meta.getColumnLabel(i)).append(':').append(meta.getColumnTypeName(i)).append(' ');
        System.out.println(head);
        List<String> lines = new ArrayList<>();
        while (rows.next()) {
            StringBuilder line = new StringBuilder();
            for (int i = 1; i <= meta.getColumnCount(); i++) {
                String text = meta.getColumnTypeName(i).equals("oid") ? "oid" : rows.getString(i);
                // A specific name of a function ends with its OID.
                if (text != null && meta.getColumnLabel(i).equalsIgnoreCase("specific_name")) text = text.replaceAll("_\\d+$", "");
                line.append(text).append('|');
            }
            lines.add(line.toString());
        }
        rows.close();
        for (String line : lines) System.out.println(line);
    }

    static void query(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) { rows(statement.executeQuery(sql)); }
    }

    static void run(String... commands) throws SQLException {
        try (Statement statement = connection.createStatement()) { for (String sql : commands) statement.execute(sql); }
    }

    static void metadata() throws SQLException {
        DatabaseMetaData d = connection.getMetaData();
        String s = "meta";
        check("getSchemas of all", () -> rows(d.getSchemas()));
        check("getSchemas by pattern", () -> rows(d.getSchemas(null, "me%")));
        check("getCatalogs", () -> rows(d.getCatalogs()));
        check("getTableTypes", () -> rows(d.getTableTypes()));
        check("getTables", () -> rows(d.getTables(null, s, "%", null)));
        check("getTables of kinds", () -> rows(d.getTables(null, s, "%", new String[] {"TABLE", "VIEW"})));
        check("getTables of sequences and indexes", () -> rows(d.getTables(null, s, "%", new String[] {"SEQUENCE", "INDEX"})));
        check("getTables of system tables", () -> rows(d.getTables(null, "pg_catalog", "pg\\_c%", new String[] {"SYSTEM TABLE"})));
        check("getTables of system views", () -> rows(d.getTables(null, "information_schema", "t%", new String[] {"SYSTEM VIEW"})));
        check("getTables with a name escaped", () -> rows(d.getTables(null, s, "line\\_items", null)));
        check("getColumns", () -> rows(d.getColumns(null, s, "%", "%")));
        check("getColumns of one", () -> rows(d.getColumns(null, s, "orders", "n%")));
        check("getColumns of a system table", () -> rows(d.getColumns(null, "pg_catalog", "pg_class", "rel%")));
        check("getPrimaryKeys", () -> rows(d.getPrimaryKeys(null, s, "line_items")));
        check("getImportedKeys", () -> rows(d.getImportedKeys(null, s, "line_items")));
        check("getExportedKeys", () -> rows(d.getExportedKeys(null, s, "orders")));
        check("getCrossReference", () -> rows(d.getCrossReference(null, s, "orders", null, s, "line_items")));
        check("getIndexInfo", () -> rows(d.getIndexInfo(null, s, "orders", false, true)));
        check("getIndexInfo unique", () -> rows(d.getIndexInfo(null, s, "orders", true, false)));
        check("getBestRowIdentifier", () -> rows(d.getBestRowIdentifier(null, s, "orders", DatabaseMetaData.bestRowSession, false)));
        check("getVersionColumns", () -> rows(d.getVersionColumns(null, s, "orders")));
        check("getTablePrivileges", () -> rows(d.getTablePrivileges(null, s, "%")));
        check("getColumnPrivileges", () -> rows(d.getColumnPrivileges(null, s, "orders", "%")));
        check("getTypeInfo", () -> {
            ResultSet rows = d.getTypeInfo();
            Set<String> names = new TreeSet<>();
            Set<String> wanted = new HashSet<>(Arrays.asList("bool", "int2", "int4", "int8", "numeric", "float4", "float8", "text", "varchar", "bpchar", "date",
                "time", "timetz", "timestamp", "timestamptz", "interval", "uuid", "json", "jsonb", "bytea", "_int4", "_text", "oid", "name", "serial", "bigserial", "smallserial"));
            while (rows.next()) if (wanted.contains(rows.getString(1))) names.add(rows.getString(1) + " " + rows.getInt("DATA_TYPE") + " " + rows.getInt("PRECISION") + " " + rows.getBoolean("CASE_SENSITIVE"));
            names.forEach(System.out::println);
        });
        check("getUDTs", () -> rows(d.getUDTs(null, s, "%", null)));
        check("getProcedures", () -> rows(d.getProcedures(null, s, "%")));
        check("getProcedureColumns", () -> rows(d.getProcedureColumns(null, s, "%", "%")));
        check("getFunctions", () -> rows(d.getFunctions(null, "pg_catalog", "abs")));
        check("getFunctionColumns", () -> rows(d.getFunctionColumns(null, "pg_catalog", "abs", "%")));
        check("getClientInfoProperties", () -> rows(d.getClientInfoProperties()));
        check("getSQLKeywords", () -> System.out.println(d.getSQLKeywords()));
        check("versions", () -> System.out.println(d.getDatabaseProductName() + " " + d.getDatabaseMajorVersion()));
        check("limits", () -> System.out.println(d.getMaxColumnNameLength() + " " + d.getMaxIndexLength() + " " + d.getMaxTableNameLength() + " " + d.getMaxColumnsInIndex()));
        check("isolation", () -> System.out.println(d.getDefaultTransactionIsolation() + " " + connection.getTransactionIsolation() + " " + d.supportsTransactionIsolationLevel(8)));
        check("user and address", () -> System.out.println(d.getUserName() + " " + d.isReadOnly() + " " + connection.getCatalog() + " " + connection.getSchema()));
        check("functions of the driver", () -> System.out.println(d.getNumericFunctions() + d.getStringFunctions() + d.getSystemFunctions() + d.getTimeDateFunctions()));
    }

    static void setup() throws SQLException {
        run("CREATE SCHEMA meta",
            "CREATE TABLE meta.customers (id serial PRIMARY KEY, name varchar(40) NOT NULL, email text UNIQUE, created timestamptz DEFAULT now(), active boolean DEFAULT true)",
            "CREATE TABLE meta.orders (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, customer int NOT NULL REFERENCES meta.customers ON DELETE CASCADE, number varchar(20) NOT NULL, "
                + "amount numeric(12,2) DEFAULT 0 CHECK (amount >= 0), placed date, note char(10), at time, took interval, f4 real, f8 double precision, u uuid, b bytea, j jsonb, js json, tags text[], small smallint, UNIQUE (customer, number))",
            "CREATE TABLE meta.line_items (order_id bigint REFERENCES meta.orders ON UPDATE CASCADE, line int, product text, PRIMARY KEY (order_id, line))",
            "CREATE INDEX orders_placed ON meta.orders (placed DESC, amount)",
            "CREATE VIEW meta.open_orders AS SELECT id, number, amount FROM meta.orders WHERE amount > 0",
            "CREATE SEQUENCE meta.numbers START 5",
            "COMMENT ON TABLE meta.orders IS 'what was ordered'", "COMMENT ON COLUMN meta.orders.amount IS 'in euros'");
    }

    static void results() throws SQLException {
        check("result set metadata", () -> {
            try (PreparedStatement p = connection.prepareStatement("SELECT o.*, c.name AS who, count(*) OVER () AS n, 1 + 1.5 AS sum FROM meta.orders o JOIN meta.customers c ON c.id = o.customer")) {
                ResultSetMetaData m = p.getMetaData();
                for (int i = 1; i <= m.getColumnCount(); i++)
                    System.out.println(m.getColumnName(i) + " " + m.getColumnLabel(i) + " " + m.getColumnTypeName(i) + " " + m.getColumnType(i) + " " + m.getPrecision(i) + " " + m.getScale(i) + " "
                        + m.isNullable(i) + " " + m.isAutoIncrement(i) + " " + m.getTableName(i) + " " + m.getSchemaName(i) + " " + m.getColumnDisplaySize(i) + " " + m.getColumnClassName(i) + " " + m.isCurrency(i) + m.isSigned(i));
            }
        });
        check("parameter metadata", () -> {
            try (PreparedStatement p = connection.prepareStatement("INSERT INTO meta.orders (customer, number, amount, placed, tags, j, u) VALUES (?, ?, ?, ?, ?, ?, ?)")) {
                ParameterMetaData m = p.getParameterMetaData();
                for (int i = 1; i <= m.getParameterCount(); i++) System.out.println(m.getParameterTypeName(i) + " " + m.getParameterType(i) + " " + m.getParameterClassName(i));
            }
        });
        check("generated keys by flag", () -> {
            try (PreparedStatement p = connection.prepareStatement("INSERT INTO meta.customers (name, email) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                p.setString(1, "Ann");
                p.setString(2, "ann@x");
                System.out.println(p.executeUpdate());
                ResultSet keys = p.getGeneratedKeys();
                keys.next();
                System.out.println(keys.getMetaData().getColumnCount() + " " + keys.getInt(1) + " " + keys.getString("name") + " " + keys.getBoolean("active"));
            }
        });
        check("generated keys by name", () -> {
            try (PreparedStatement p = connection.prepareStatement("INSERT INTO meta.orders (customer, number, amount) VALUES (1, ?, ?)", new String[] {"id", "number"})) {
                p.setString(1, "A1");
                p.setBigDecimal(2, new BigDecimal("12.50"));
                p.executeUpdate();
                rows(p.getGeneratedKeys());
            }
        });
        check("a batch with keys", () -> {
            try (PreparedStatement p = connection.prepareStatement("INSERT INTO meta.orders (customer, number, amount) VALUES (1, ?, ?)", new String[] {"id"})) {
                for (int i = 0; i < 300; i++) {
                    p.setString(1, "B" + i);
                    p.setInt(2, i);
                    p.addBatch();
                }
                int sum = 0;
                for (int n : p.executeBatch()) sum += n;
                ResultSet keys = p.getGeneratedKeys();
                int count = 0;
                while (keys.next()) count++;
                System.out.println(sum + " " + count);
            }
        });
        check("a batch that fails", () -> {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.addBatch("INSERT INTO meta.customers (name, email) VALUES ('Bob', 'bob@x')");
                statement.addBatch("INSERT INTO meta.customers (name, email) VALUES ('Ann', 'ann@x')");
                statement.addBatch("INSERT INTO meta.customers (name, email) VALUES ('Eve', 'eve@x')");
                statement.executeBatch();
            } catch (BatchUpdateException error) {
                System.out.println(error.getSQLState() + " " + Arrays.toString(error.getUpdateCounts()) + " " + error.getNextException().getSQLState());
            }
        });
        check("rewritten batches", () -> {
            try (Connection c = open("reWriteBatchedInserts=true"); PreparedStatement p = c.prepareStatement("INSERT INTO meta.customers (name) VALUES (?)")) {
                for (int i = 0; i < 100; i++) {
                    p.setString(1, "R" + i);
                    p.addBatch();
                }
                System.out.println(p.executeBatch().length);
            }
            query("SELECT count(*) FROM meta.customers WHERE name LIKE 'R%'");
        });
        check("fetch size", () -> {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                ResultSet rows = statement.executeQuery("SELECT g FROM generate_series(1, 12345) AS g");
                long sum = 0;
                while (rows.next()) sum += rows.getInt(1);
                System.out.println(sum);
            }
        });
        check("two cursors at once", () -> {
            connection.setAutoCommit(false);
            try (Statement one = connection.createStatement(); Statement two = connection.createStatement()) {
                one.setFetchSize(7);
                two.setFetchSize(11);
                ResultSet a = one.executeQuery("SELECT g FROM generate_series(1, 100) AS g"), b = two.executeQuery("SELECT g * 2 FROM generate_series(1, 100) AS g");
                long sum = 0;
                while (a.next() && b.next()) sum += a.getInt(1) * b.getInt(1);
                System.out.println(sum);
            }
        });
        check("scrollable results", () -> {
            try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
                ResultSet rows = statement.executeQuery("SELECT g FROM generate_series(1, 10) AS g");
                rows.last();
                System.out.println(rows.getRow() + " " + rows.getInt(1));
                rows.absolute(3);
                System.out.println(rows.getInt(1) + " " + rows.previous() + " " + rows.getInt(1));
            }
        });
        check("updatable results", () -> {
            try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                ResultSet rows = statement.executeQuery("SELECT id, name FROM meta.customers WHERE id = 1");
                rows.next();
                rows.updateString("name", "Anna");
                rows.updateRow();
                rows.moveToInsertRow();
                rows.updateInt("id", 5000);
                rows.updateString("name", "Inserted");
                rows.insertRow();
            }
            query("SELECT id, name FROM meta.customers WHERE id IN (1, 5000) ORDER BY id");
        });
        check("max rows", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setMaxRows(3);
                rows(statement.executeQuery("SELECT g FROM generate_series(1, 10) AS g"));
            }
        });
        check("several results", () -> {
            try (Statement statement = connection.createStatement()) {
                boolean more = statement.execute("SELECT 1; UPDATE meta.customers SET active = false WHERE id = 1; SELECT 2");
                while (more || statement.getUpdateCount() >= 0) {
                    if (more) rows(statement.getResultSet()); else System.out.println("count " + statement.getUpdateCount());
                    more = statement.getMoreResults();
                }
            }
        });
        check("server-prepared and binary", () -> {
            try (PreparedStatement p = connection.prepareStatement("SELECT ?::int4, ?::int8, ?::numeric, ?::float8, ?::text, ?::bool, ?::date, ?::timestamptz, ?::uuid, ?::bytea, ?::int4[], ?::text[], ?::time, ?::int2, ?::float4")) {
                p.unwrap(PGStatement.class).setPrepareThreshold(2);
                for (int i = 0; i < 8; i++) {
                    p.setInt(1, i);
                    p.setLong(2, Long.MAX_VALUE - i);
                    p.setBigDecimal(3, new BigDecimal("1234.5600").add(BigDecimal.valueOf(i)));
                    p.setDouble(4, 0.1 * i);
                    p.setString(5, "naïve " + i);
                    p.setBoolean(6, i % 2 == 0);
                    p.setObject(7, LocalDate.of(2024, 2, 29).plusDays(i));
                    p.setObject(8, OffsetDateTime.of(2024, 2, 29, 12, 30, 0, 123456000, ZoneOffset.UTC));
                    p.setObject(9, UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
                    p.setBytes(10, new byte[] {0, -1, (byte) i});
                    p.setArray(11, connection.createArrayOf("int4", new Object[] {1, null, i}));
                    p.setArray(12, connection.createArrayOf("text", new Object[] {"a b", null, "\"q\""}));
                    p.setObject(13, LocalTime.of(1, 2, 3));
                    p.setShort(14, (short) i);
                    p.setFloat(15, 1.5f);
                    ResultSet rows = p.executeQuery();
                    rows.next();
                    System.out.println(p.unwrap(PGStatement.class).isUseServerPrepare() + " " + rows.getInt(1) + " " + rows.getLong(2) + " " + rows.getBigDecimal(3) + " " + rows.getDouble(4) + " " + rows.getString(5) + " "
                        + rows.getBoolean(6) + " " + rows.getObject(7, LocalDate.class) + " " + rows.getObject(8, OffsetDateTime.class) + " " + rows.getObject(9) + " " + Arrays.toString(rows.getBytes(10)) + " "
                        + Arrays.toString((Object[]) rows.getArray(11).getArray()) + " " + Arrays.toString((Object[]) rows.getArray(12).getArray()) + " " + rows.getObject(13, LocalTime.class) + " " + rows.getShort(14) + " " + rows.getFloat(15));
                }
            }
        });
        check("a prepared statement after its table changed", () -> {
            run("CREATE TABLE meta.changing (a int)", "INSERT INTO meta.changing VALUES (1)");
            try (PreparedStatement p = connection.prepareStatement("SELECT * FROM meta.changing")) {
                p.unwrap(PGStatement.class).setPrepareThreshold(1);
                for (int i = 0; i < 3; i++) p.executeQuery().close();
                run("ALTER TABLE meta.changing ADD COLUMN b text DEFAULT 'x'");
                rows(p.executeQuery());
            }
        });
        check("copy out and in", () -> {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            run("CREATE TABLE meta.copied (id int PRIMARY KEY, v text)");
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < 5000; i++) text.append(i).append("\tv ").append(i).append('\n');
            System.out.println(copy.copyIn("COPY meta.copied FROM STDIN", new StringReader(text.toString())));
            StringWriter out = new StringWriter();
            System.out.println(copy.copyOut("COPY (SELECT * FROM meta.copied ORDER BY id) TO STDOUT", out) + " " + out.toString().equals(text.toString()));
            System.out.println(copy.copyOut("COPY meta.copied TO STDOUT WITH (FORMAT csv, HEADER)", new StringWriter()));
        });
        check("copy in binary", () -> {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            System.out.println(copy.copyOut("COPY (SELECT * FROM meta.copied ORDER BY id) TO STDOUT (FORMAT binary)", out) + " " + out.size());
            run("TRUNCATE meta.copied");
            System.out.println(copy.copyIn("COPY meta.copied FROM STDIN (FORMAT binary)", new ByteArrayInputStream(out.toByteArray())));
        });
        check("copy that is cancelled", () -> {
            CopyIn in = connection.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY meta.copied FROM STDIN");
            byte[] row = "99999\tx\n".getBytes(StandardCharsets.UTF_8);
            in.writeToCopy(row, 0, row.length);
            in.cancelCopy();
            query("SELECT count(*) FROM meta.copied WHERE id = 99999");
        });
        check("savepoints", () -> {
            connection.setAutoCommit(false);
            run("INSERT INTO meta.customers (id, name) VALUES (6000, 'x')");
            Savepoint savepoint = connection.setSavepoint("here");
            try { run("INSERT INTO meta.customers (id, name) VALUES (6000, 'y')"); } catch (SQLException error) { System.out.println(error.getSQLState()); }
            connection.rollback(savepoint);
            connection.releaseSavepoint(connection.setSavepoint());
            query("SELECT count(*) FROM meta.customers WHERE id = 6000");
        });
        check("autosave", () -> {
            try (Connection c = open("autosave=always")) {
                c.setAutoCommit(false);
                try (Statement s = c.createStatement()) {
                    s.execute("INSERT INTO meta.customers (id, name) VALUES (6100, 'x')");
                    try { s.execute("SELECT 1/0"); } catch (SQLException error) { System.out.println(error.getSQLState()); }
                    ResultSet r = s.executeQuery("SELECT count(*) FROM meta.customers WHERE id = 6100");
                    r.next();
                    System.out.println(r.getInt(1));
                }
                c.rollback();
            }
        });
        check("server error fields", () -> {
            try { run("INSERT INTO meta.orders (customer, number) VALUES (987654, 'z')"); } catch (org.postgresql.util.PSQLException error) {
                org.postgresql.util.ServerErrorMessage m = error.getServerErrorMessage();
                System.out.println(m.getSQLState() + " " + m.getMessage() + " " + m.getDetail() + " " + m.getSchema() + " " + m.getTable() + " " + m.getColumn() + " " + m.getConstraint());
            }
            try { run("SELECT nothing FROM meta.orders"); } catch (org.postgresql.util.PSQLException error) { System.out.println(error.getServerErrorMessage().getPosition() + " " + error.getServerErrorMessage()); }
        });
        check("query timeout", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                statement.execute("SELECT pg_sleep(20)");
            }
        });
        check("cancel", () -> {
            try (Statement statement = connection.createStatement()) {
                Thread other = new Thread(() -> { try { Thread.sleep(300); statement.cancel(); } catch (Exception ignored) { } });
                other.start();
                statement.execute("SELECT pg_sleep(20)");
            }
        });
        check("simple query mode", () -> {
            try (Connection c = open("preferQueryMode=simple"); PreparedStatement p = c.prepareStatement("SELECT ?::int + ?::int, ?::text")) {
                p.setInt(1, 2);
                p.setInt(2, 3);
                p.setString(3, "it's");
                rows(p.executeQuery());
            }
        });
        check("read-only connection", () -> {
            try (Connection c = open("readOnly=true&readOnlyMode=always")) {
                c.setReadOnly(true);
                c.createStatement().execute("INSERT INTO meta.customers (name) VALUES ('no')");
            }
        });
        check("isolation levels", () -> {
            for (int level : new int[] {Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_READ_COMMITTED}) {
                connection.setTransactionIsolation(level);
                query("SHOW transaction_isolation");
            }
        });
        check("notices", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE IF EXISTS meta.nothing_here");
                System.out.println(statement.getWarnings().getMessage() + " " + statement.getWarnings().getSQLState());
            }
        });
        check("several hosts", () -> {
            String url = "jdbc:postgresql://127.0.0.1:1," + host + ":" + port + "/postgres?user=postgres&targetServerType=primary&loadBalanceHosts=false&connectTimeout=3";
            try (Connection c = DriverManager.getConnection(url)) { System.out.println(c.isValid(3)); }
        });
        check("client info and application name", () -> {
            connection.setClientInfo("ApplicationName", "a tool");
            query("SHOW application_name");
        });
        check("current schema", () -> {
            try (Connection c = open("currentSchema=meta"); Statement s = c.createStatement()) { rows(s.executeQuery("SELECT current_schema(), count(*) > 0 FROM orders")); }
        });
        check("streams and large text", () -> {
            try (PreparedStatement p = connection.prepareStatement("SELECT length(?), length(?::bytea)")) {
                p.setCharacterStream(1, new StringReader("x".repeat(1000000)), 1000000);
                p.setBinaryStream(2, new ByteArrayInputStream(new byte[500000]), 500000);
                rows(p.executeQuery());
            }
        });
        check("functions by escape", () -> query("SELECT {fn concat('a', 'b')}, {fn upper('x')}, {d '2024-02-29'}, {ts '2024-02-29 01:02:03'}, {fn mod(7, 3)}"));
        check("callable", () -> {
            try (CallableStatement c = connection.prepareCall("{? = call upper(?)}")) {
                c.registerOutParameter(1, Types.VARCHAR);
                c.setString(2, "abc");
                c.execute();
                System.out.println(c.getString(1));
            }
        });
        check("listen and notify", () -> {
            run("LISTEN channel", "NOTIFY channel, 'payload'");
            org.postgresql.PGNotification[] got = connection.unwrap(PGConnection.class).getNotifications(2000);
            System.out.println(got == null ? "none" : got.length + " " + got[0].getName() + " " + got[0].getParameter());
        });
        check("discard", () -> run("DISCARD ALL"));
    }

    static Connection open(String options) throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + host + ":" + port + "/postgres?user=postgres&" + options);
    }

    public static void main(String[] args) throws Exception {
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8"));
        host = args[0];
        port = args[1];
        connection = open("");
        setup();
        metadata();
        results();
        connection.close();
    }
}
