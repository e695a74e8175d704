import java.math.BigDecimal;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.UUID;

/** A small job through the PostgreSQL JDBC driver: batches, fetch size, types, metadata, errors, a list of hosts. */
public class Job {
    static void check(boolean right, String what) {
        if (!right) throw new AssertionError(what);
    }

    static void fails(String state, Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        } catch (SQLException error) {
            check(state.equals(error.getSQLState()), sql + ": " + error.getSQLState() + " " + error.getMessage());
            if (!connection.getAutoCommit()) connection.rollback();
            return;
        }
        throw new AssertionError(sql + " did not fail");
    }

    static long number(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            check(rows.next(), sql);
            return rows.getLong(1);
        }
    }

    static void types(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc (id serial PRIMARY KEY, name varchar(40), n numeric(12,3), d date, "
                + "ts timestamptz, u uuid, b bytea, f float8, ok boolean, big bigint)");
        }
        OffsetDateTime moment = OffsetDateTime.of(2024, 2, 29, 12, 30, 0, 123456000, ZoneOffset.UTC);
        UUID uuid = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        String insert = "INSERT INTO jdbc (name, n, d, ts, u, b, f, ok, big) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            statement.setString(1, "naïve");
            statement.setBigDecimal(2, new BigDecimal("123.456"));
            statement.setObject(3, LocalDate.of(2024, 2, 29));
            statement.setObject(4, moment);
            statement.setObject(5, uuid);
            statement.setBytes(6, new byte[] {0, -1});
            statement.setDouble(7, 0.1);
            statement.setBoolean(8, true);
            statement.setLong(9, Long.MIN_VALUE);
            check(statement.executeUpdate() == 1, "one row");
            ResultSet keys = statement.getGeneratedKeys();
            check(keys.next() && keys.getInt("id") == 1, "generated key");
            for (int i = 1; i <= 9; i++) statement.setObject(i, null);
            check(statement.executeUpdate() == 1, "a row of nulls");
        }
        // More than five executions: the driver moves on to a named statement and binary results.
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM jdbc WHERE id = ?")) {
            for (int round = 0; round < 10; round++) {
                statement.setInt(1, 1);
                ResultSet rows = statement.executeQuery();
                check(rows.next(), "row");
                check(rows.getString("name").equals("naïve"), "text");
                check(rows.getBigDecimal("n").equals(new BigDecimal("123.456")), "numeric");
                check(rows.getObject("d", LocalDate.class).equals(LocalDate.of(2024, 2, 29)), "date");
                check(rows.getObject("ts", OffsetDateTime.class).isEqual(moment), "timestamptz");
                check(rows.getObject("u").equals(uuid), "uuid");
                check(Arrays.equals(rows.getBytes("b"), new byte[] {0, -1}), "bytea");
                check(rows.getDouble("f") == 0.1 && rows.getBoolean("ok") && rows.getLong("big") == Long.MIN_VALUE, "rest");
                statement.setInt(1, 2);
                rows = statement.executeQuery();
                check(rows.next() && rows.getString("name") == null && rows.getObject("n") == null, "nulls");
            }
        }
    }

    static void batches(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO jdbc (name, big) VALUES (?, ?)")) {
            for (int n = 0; n < 5000; n++) {
                statement.setString(1, "row " + n);
                statement.setLong(2, n);
                statement.addBatch();
            }
            int[] counts = statement.executeBatch();
            check(counts.length == 5000 && Arrays.stream(counts).allMatch(count -> count == 1), "batch counts");
        }
        connection.commit();
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            ResultSet rows = statement.executeQuery("SELECT big FROM jdbc WHERE name LIKE 'row %' ORDER BY big");
            long next = 0;
            while (rows.next()) check(rows.getLong(1) == next++, "order of the rows");
            check(next == 5000, "all rows in parts of 100");
        }
        Savepoint savepoint = connection.setSavepoint("before");
        try (Statement statement = connection.createStatement()) {
            check(statement.executeUpdate("DELETE FROM jdbc") == 5002, "delete count");
        }
        connection.rollback(savepoint);
        check(number(connection, "SELECT count(*) FROM jdbc") == 5002, "rollback to the savepoint");
        connection.rollback();
        // A batch that fails half way leaves nothing.
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO jdbc (id) VALUES (?)")) {
            for (int id : new int[] {900001, 900002, 1}) {
                statement.setInt(1, id);
                statement.addBatch();
            }
            statement.executeBatch();
            throw new AssertionError("a duplicate key went in");
        } catch (BatchUpdateException error) {
            check("23505".equals(error.getSQLState()), "batch error " + error.getSQLState());
        }
        connection.rollback();
        check(number(connection, "SELECT count(*) FROM jdbc WHERE id > 900000") == 0, "nothing of the batch stays");
        connection.rollback();
        fails("42P01", connection, "SELECT * FROM nothing_here");
        fails("22012", connection, "SELECT 1 / 0");
        fails("22001", connection, "UPDATE jdbc SET name = repeat('x', 41) WHERE id = 1");
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        check(number(connection, "SELECT count(*) FROM jdbc") == 5002, "serializable read");
        connection.commit();
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        connection.setAutoCommit(true);
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData meta = connection.getMetaData();
        check(meta.getDatabaseProductName().equals("PostgreSQL") && meta.getDatabaseMajorVersion() == 15, "version");
        List<String> columns = new ArrayList<>();
        try (ResultSet rows = meta.getColumns(null, "public", "jdbc", null)) {
            while (rows.next()) {
                columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME") + " " + rows.getInt("COLUMN_SIZE"));
            }
        }
        check(columns.size() == 10 && columns.contains("name varchar 40") && columns.contains("n numeric 12"), columns.toString());
        try (ResultSet rows = meta.getPrimaryKeys(null, "public", "jdbc")) {
            check(rows.next() && rows.getString("COLUMN_NAME").equals("id") && !rows.next(), "primary key");
        }
        try (ResultSet rows = meta.getTables(null, "public", "jdb%", new String[] {"TABLE"})) {
            check(rows.next() && rows.getString("TABLE_NAME").equals("jdbc") && !rows.next(), "tables");
        }
        try (ResultSet rows = meta.getIndexInfo(null, "public", "jdbc", true, false)) {
            check(rows.next() && rows.getString("INDEX_NAME").equals("jdbc_pkey"), "index");
        }
        try (ResultSet rows = meta.getSchemas()) {
            boolean found = false;
            while (rows.next()) found |= rows.getString(1).equals("public");
            check(found, "schemas");
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, n AS amount FROM jdbc WHERE name = ?")) {
            ResultSetMetaData result = statement.getMetaData();
            check(result.getColumnCount() == 2 && result.getColumnLabel(2).equals("amount"), "labels");
            check(result.getColumnType(2) == Types.NUMERIC && result.getPrecision(2) == 12 && result.getScale(2) == 3, "numeric");
            check(statement.getParameterMetaData().getParameterType(1) == Types.VARCHAR, "parameter type");
        }
    }

    /** Rows of a metadata query as text, the named columns joined by blanks. */
    static List<String> read(ResultSet rows, String... columns) throws SQLException {
        List<String> out = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                List<String> values = new ArrayList<>();
                for (String column : columns) values.add(rows.getString(column));
                out.add(String.join(" ", values));
            }
        }
        return out;
    }

    static void same(List<String> found, String... expected) {
        check(found.equals(Arrays.asList(expected)), found + " instead of " + Arrays.toString(expected));
    }

    static void keys(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc_parent (b int, a int, name text DEFAULT 'x', PRIMARY KEY (a, b))");
            statement.execute("CREATE TABLE jdbc_child (id int PRIMARY KEY, x int, y int, CONSTRAINT jdbc_key FOREIGN KEY (x, y) "
                + "REFERENCES jdbc_parent ON DELETE CASCADE ON UPDATE RESTRICT)");
            statement.execute("CREATE INDEX jdbc_order ON jdbc_child (y DESC, x)");
            statement.execute("CREATE VIEW jdbc_view AS SELECT name FROM jdbc_parent");
            statement.execute("COMMENT ON COLUMN jdbc_parent.name IS 'a remark'");
        }
        DatabaseMetaData meta = connection.getMetaData();
        same(read(meta.getPrimaryKeys(null, "public", "jdbc_parent"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"),
            "a 1 jdbc_parent_pkey", "b 2 jdbc_parent_pkey");
        String[] ends = {"PKTABLE_NAME", "PKCOLUMN_NAME", "FKTABLE_NAME", "FKCOLUMN_NAME", "KEY_SEQ", "UPDATE_RULE", "DELETE_RULE",
            "FK_NAME", "PK_NAME", "DEFERRABILITY"};
        String[] links = {"jdbc_parent a jdbc_child x 1 1 0 jdbc_key jdbc_parent_pkey 7",
            "jdbc_parent b jdbc_child y 2 1 0 jdbc_key jdbc_parent_pkey 7"};
        same(read(meta.getImportedKeys(null, "public", "jdbc_child"), ends), links);
        same(read(meta.getExportedKeys(null, "public", "jdbc_parent"), ends), links);
        same(read(meta.getCrossReference(null, "public", "jdbc_parent", null, "public", "jdbc_child"), ends), links);
        same(read(meta.getIndexInfo(null, "public", "jdbc_child", false, false),
                "INDEX_NAME", "NON_UNIQUE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC", "TYPE"),
            "jdbc_child_pkey f 1 id A 3", "jdbc_order t 1 y D 3", "jdbc_order t 2 x A 3");
        same(read(meta.getBestRowIdentifier(null, "public", "jdbc_parent", DatabaseMetaData.bestRowSession, false), "COLUMN_NAME", "TYPE_NAME"),
            "b int4", "a int4");
        same(read(meta.getTables(null, "public", "jdbc\\_%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME", "TABLE_TYPE"),
            "jdbc_child TABLE", "jdbc_parent TABLE", "jdbc_view VIEW");
        same(read(meta.getColumns(null, "public", "jdbc_parent", "%"),
                "COLUMN_NAME", "DATA_TYPE", "NULLABLE", "ORDINAL_POSITION", "COLUMN_DEF", "REMARKS", "IS_AUTOINCREMENT"),
            "b 4 0 1 null null NO", "a 4 0 2 null null NO", "name 12 1 3 'x'::text a remark NO");
        List<String> types = read(meta.getTypeInfo(), "TYPE_NAME", "DATA_TYPE");
        check(types.containsAll(List.of("int4 4", "text 12", "numeric 2", "timestamptz 93", "bool -7", "bytea -2")), types.toString());
        check(read(meta.getFunctions(null, "pg_catalog", "abs"), "FUNCTION_NAME").size() >= 6, "functions");
        check(read(meta.getFunctionColumns(null, "pg_catalog", "length", null), "FUNCTION_NAME").size() >= 6, "columns of functions");
        same(read(meta.getTableTypes(), "TABLE_TYPE").subList(0, 2), "FOREIGN TABLE", "INDEX");
        same(read(meta.getCatalogs(), "TABLE_CAT").contains("postgres") ? List.of("postgres") : List.of(), "postgres");
        same(read(meta.getProcedures(null, "public", "%"), "PROCEDURE_NAME"));
        check(read(meta.getUDTs(null, "public", "jdbc%", null), "TYPE_NAME").contains("jdbc_parent"), "row types");
        check(read(meta.getTablePrivileges(null, "public", "jdbc_parent"), "GRANTEE", "PRIVILEGE").contains("postgres SELECT"), "privileges");
        check(read(meta.getColumnPrivileges(null, "public", "jdbc_parent", "a"), "GRANTEE", "PRIVILEGE").contains("postgres SELECT"), "of columns");
        check(!read(meta.getTables(null, null, "%", null), "TABLE_NAME").isEmpty(), "all tables");
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE jdbc_child");
            statement.execute("DROP VIEW jdbc_view");
            statement.execute("DROP TABLE jdbc_parent");
        }
    }

    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        int port = Integer.parseInt(arguments[1]);
        Properties properties = new Properties();
        properties.setProperty("user", "postgres");
        // The first host of the list is nobody: the driver must go on and take the primary.
        String url = "jdbc:postgresql://" + host + ":1," + host + ":" + port + "/postgres?targetServerType=primary&loginTimeout=20";
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            types(connection);
            batches(connection);
            metadata(connection);
            keys(connection);
            try (Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE jdbc");
            }
        }
        System.out.println("JDBC: ok");
    }
}
