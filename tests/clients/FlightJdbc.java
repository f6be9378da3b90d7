import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Flight SQL by the JDBC driver of Arrow: java FlightJdbc.java PORT TOKEN TOKEN_OF_ANOTHER_TENANT.
 *
 * What tools for databases do: log in, look at what there is, prepare, read; and what the server refuses. It prints the
 * number of rows.
 */
public class FlightJdbc {
    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:arrow-flight-sql://127.0.0.1:" + arguments[0] + "/?useEncryption=false";
        String token = arguments[1];
        long rows;
        try (Connection connection = DriverManager.getConnection(url + "&user=anyone&password=" + token)) {
            rows = number(connection, "select count(*) from spans");
            metadata(connection.getMetaData());
            prepared(connection);
            types(connection);
            left(connection);
            refused(connection);
        }
        try (Connection connection = DriverManager.getConnection(url + "&token=" + token)) {
            is(rows, number(connection, "select count(*) from spans"));
        }
        catalog(url + "&catalog=tracerag&token=" + token, rows);
        try (Connection connection = DriverManager.getConnection(url + "&token=" + arguments[2])) {
            is(0L, number(connection, "select count(*) from spans"));
        }
        fails("token", () -> DriverManager.getConnection(url + "&user=anyone&password=tracerag_00").close());
        System.out.println(rows);
    }

    /** A tool whose user has chosen a catalog says so. */
    static void catalog(String url, long rows) throws SQLException {
        Connection connection = DriverManager.getConnection(url);
        is(rows, number(connection, "select count(*) from spans"));
        try {
            connection.close();
        } catch (SQLException error) {
            // Version 18.3 of the driver takes leave twice, the second time over a channel that it has closed.
            has(error.getMessage(), "Channel shutdown invoked");
        }
    }

    /** What a tool's tree of objects is made of. */
    static void metadata(DatabaseMetaData metadata) throws SQLException {
        is("tracerag", metadata.getDatabaseProductName());
        is(true, metadata.isReadOnly());
        is("\"", metadata.getIdentifierQuoteString());
        is(false, metadata.supportsTransactions());
        is(true, metadata.supportsGroupBy());
        is(0, metadata.getMaxColumnsInSelect());
        has(metadata.getStringFunctions(), "concat");
        is(List.of("tracerag"), column(metadata.getCatalogs(), "TABLE_CAT"));
        is(List.of("public"), column(metadata.getSchemas(), "TABLE_SCHEM"));
        is(List.of("TABLE", "VIEW"), column(metadata.getTableTypes(), "TABLE_TYPE"));
        Set<String> tables = new HashSet<>(column(metadata.getTables(null, null, "%", null), "TABLE_NAME"));
        is(true, tables.containsAll(List.of("spans", "logs", "incidents")));
        is(List.of("incidents"), column(metadata.getTables("tracerag", "public", "inc%ents", new String[] {"VIEW"}), "TABLE_NAME"));
        List<String> columns = column(metadata.getColumns(null, "public", "spans", null), "COLUMN_NAME");
        is(true, columns.containsAll(List.of("trace_id", "start_time", "duration_ns", "attributes")));
        is(List.of("duration_ns"), column(metadata.getColumns(null, null, "spans", "duration%"), "COLUMN_NAME"));
        is(List.of(), column(metadata.getPrimaryKeys(null, null, "spans"), "COLUMN_NAME"));
        is(List.of(), column(metadata.getImportedKeys(null, null, "spans"), "FKCOLUMN_NAME"));
        is(List.of(), column(metadata.getExportedKeys(null, null, "spans"), "FKCOLUMN_NAME"));
        is(List.of(), column(metadata.getCrossReference(null, null, "spans", null, null, "logs"), "FKCOLUMN_NAME"));
    }

    static void prepared(Connection connection) throws SQLException {
        String trace;
        try (Statement statement = connection.createStatement();
                ResultSet found = statement.executeQuery("select trace_id from spans limit 1")) {
            found.next();
            trace = found.getString(1);
        }
        String query = "select name, duration_ns from spans where trace_id = ? and duration_ns > ? order by start_time limit ?";
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            is(3, statement.getParameterMetaData().getParameterCount());
            is("duration_ns", statement.getMetaData().getColumnName(2));
            for (long most : new long[] {2, 1}) {
                statement.setString(1, trace);
                statement.setLong(2, 0);
                statement.setLong(3, most);
                is(most, (long) column(statement.executeQuery(), "name").size());
            }
        }
    }

    /** A column of each kind is read: tools show every one. */
    static void types(Connection connection) throws SQLException {
        String query = "select name, duration_ns, start_time, kind, attributes, events, parent_span_id is null as is_root,"
                + " cast(duration_ns as double) / 1e6 as ms, cast(1.5 as decimal(10, 2)) as exact, null as nothing,"
                + " interval '1 hour' as span, array[1, 2] as list, X'00ff' as bytes, date '2026-11-16' as day"
                + " from spans order by start_time limit 1";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(query)) {
            ResultSetMetaData columns = row.getMetaData();
            is(true, row.next());
            for (int column = 1; column <= columns.getColumnCount(); column++) {
                // The driver gives times with a zone as timestamps only.
                boolean isTime = columns.getColumnType(column) == Types.TIMESTAMP_WITH_TIMEZONE;
                Object value = isTime ? row.getTimestamp(column) : row.getObject(column);
                if (value == null && !columns.getColumnName(column).equals("nothing")) {
                    throw new IllegalStateException(columns.getColumnName(column) + " is null");
                }
                String.valueOf(value);
            }
            has(row.getTimestamp("start_time").toInstant().toString(), "2026-");
            is(true, row.getBoolean("is_root"));
            is("1.50", row.getBigDecimal("exact").toString());
            is("2026-11-16", row.getDate("day").toString());
            is(false, row.next());
        }
    }

    /** Whoever leaves a query ends it, so that the next has its turn. */
    static void left(Connection connection) throws SQLException {
        String endless = "select a.value from generate_series(1, 1000000) as a, generate_series(1, 1000000) as b";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(endless)) {
            is(true, rows.next());
        }
        is(1L, number(connection, "select 1"));
    }

    static void refused(Connection connection) {
        for (String change : List.of("drop table spans", "insert into spans select * from spans")) {
            fails("ask with SELECT", () -> {
                try (Statement statement = connection.createStatement()) {
                    statement.execute(change);
                }
            });
        }
        fails("no_such", () -> number(connection, "select no_such from spans"));
    }

    static long number(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(query)) {
            row.next();
            return row.getLong(1);
        }
    }

    /** All values of a column, the result set being closed. */
    static List<String> column(ResultSet rows, String name) throws SQLException {
        try (rows) {
            List<String> values = new ArrayList<>();
            while (rows.next()) {
                values.add(rows.getString(name));
            }
            return values;
        }
    }

    interface Work {
        void run() throws Exception;
    }

    /** That something fails, and that the error or a cause of it says a part. */
    static void fails(String part, Work work) {
        try {
            work.run();
        } catch (Exception error) {
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                if (String.valueOf(cause.getMessage()).contains(part)) {
                    return;
                }
            }
            throw new IllegalStateException("nothing says " + part, error);
        }
        throw new IllegalStateException("nothing fails with " + part);
    }

    static void is(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new IllegalStateException("not " + expected + ", but " + found);
        }
    }

    static void has(String text, String part) {
        if (!text.contains(part)) {
            throw new IllegalStateException("no " + part + " in " + text);
        }
    }
}
