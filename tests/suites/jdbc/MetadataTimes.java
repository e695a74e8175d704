import java.sql.*;

/** Asks what BI tools ask about a schema of 1,000 tables, and prints "name milliseconds rows" for each question: the fastest of some. */
public class MetadataTimes {
    interface Question { ResultSet ask(DatabaseMetaData meta) throws SQLException; }

    static void time(DatabaseMetaData meta, String name, int times, Question question) throws SQLException {
        double best = Double.MAX_VALUE;
        int count = 0;
        for (int i = 0; i < times; i++) {
            long begun = System.nanoTime();
            count = 0;
            try (ResultSet rows = question.ask(meta)) {
                while (rows.next()) count++;
            }
            best = Math.min(best, (System.nanoTime() - begun) / 1e6);
        }
        System.out.println(name + "\t" + best + "\t" + count);
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/postgres?user=postgres";
        try (Connection connection = DriverManager.getConnection(url)) {
            DatabaseMetaData meta = connection.getMetaData();
            String[] tables = { "TABLE", "VIEW" };
            time(meta, "getSchemas", 5, m -> m.getSchemas());
            time(meta, "getTables", 3, m -> m.getTables(null, "big", "%", tables));
            time(meta, "getColumns of one", 9, m -> m.getColumns(null, "big", "t0500", "%"));
            time(meta, "getColumns of all", 3, m -> m.getColumns(null, "big", "%", "%"));
            time(meta, "getPrimaryKeys", 9, m -> m.getPrimaryKeys(null, "big", "t0500"));
            time(meta, "getImportedKeys", 9, m -> m.getImportedKeys(null, "big", "t0499"));
            time(meta, "getExportedKeys", 9, m -> m.getExportedKeys(null, "big", "t0498"));
            time(meta, "getIndexInfo", 9, m -> m.getIndexInfo(null, "big", "t0500", false, false));
            time(meta, "getTablePrivileges", 9, m -> m.getTablePrivileges(null, "big", "t0500"));
            time(meta, "getTypeInfo", 3, m -> m.getTypeInfo());
            time(meta, "getFunctions", 3, m -> m.getFunctions(null, "pg_catalog", "a%"));
        }
    }
}
