import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TimeZone;

/**
 * The PostgreSQL JDBC driver asks a server. Arguments: PORT TOKEN TRACE_ID. It ends with status 0 if every check holds.
 */
public class PostgresJdbc {
    private static final Instant START = Instant.parse("2026-11-16T12:00:05Z");

    public static void main(String[] arguments) throws SQLException {
        // The driver names the machine's zone when it connects.
        TimeZone.setDefault(TimeZone.getTimeZone("Europe/Berlin"));
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/tracerag";
        Properties properties = new Properties();
        properties.setProperty("user", "java");
        properties.setProperty("password", arguments[1]);
        // Prepared on the server from the first time on, so that values are binary from the second on.
        properties.setProperty("prepareThreshold", "1");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            valuesAreBound(connection, arguments[2]);
            rowsComeInParts(connection);
            tablesAreTold(connection);
            errorsHaveTheirStates(connection);
        }
        properties.setProperty("password", "tracerag_00");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            throw new AssertionError("a wrong password comes in: " + connection);
        } catch (SQLException refused) {
            check("28P01".equals(refused.getSQLState()), refused.toString());
        }
    }

    private static void valuesAreBound(Connection connection, String trace) throws SQLException {
        String query = "select name, start_time, duration_ns, attributes from spans"
            + " where trace_id = ? and start_time >= ? and duration_ns > ? order by start_time limit 1";
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            for (int round = 0; round < 4; round++) {
                statement.setString(1, trace);
                statement.setTimestamp(2, Timestamp.from(START.minusSeconds(1)));
                statement.setLong(3, 1);
                try (ResultSet rows = statement.executeQuery()) {
                    check(rows.next(), "no row");
                    check("POST /checkout".equals(rows.getString(1)), rows.getString(1));
                    check(START.equals(rows.getObject(2, OffsetDateTime.class).toInstant()), rows.getString(2));
                    check(rows.getLong(3) == 900_000_000L, rows.getString(3));
                    check(rows.getString(4).contains("\"http.route\":\"/checkout\""), rows.getString(4));
                    check(!rows.next(), "more than one row");
                }
            }
        }
    }

    /** Within a transaction the driver reads a portal part by part. */
    private static void rowsComeInParts(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            int count = 0;
            try (ResultSet rows = statement.executeQuery("select * from generate_series(1, 5000)")) {
                while (rows.next()) {
                    count++;
                }
            }
            check(count == 5000, "rows: " + count);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void tablesAreTold(Connection connection) throws SQLException {
        DatabaseMetaData told = connection.getMetaData();
        check(told.getDatabaseProductVersion().startsWith("16"), told.getDatabaseProductVersion());
        Set<String> tables = new HashSet<>();
        try (ResultSet rows = told.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"})) {
            while (rows.next()) {
                tables.add(rows.getString("TABLE_NAME"));
            }
        }
        check(tables.contains("spans") && tables.contains("incidents"), tables.toString());
        Map<String, String> columns = new HashMap<>();
        try (ResultSet rows = told.getColumns(null, "public", "spans", "%")) {
            while (rows.next()) {
                columns.put(rows.getString("COLUMN_NAME"), rows.getString("TYPE_NAME"));
            }
        }
        check("timestamptz".equals(columns.get("start_time")), columns.toString());
        check("int8".equals(columns.get("duration_ns")), columns.toString());
        check("text".equals(columns.get("attributes")), columns.toString());
    }

    private static void errorsHaveTheirStates(Connection connection) throws SQLException {
        String[][] statements = {
            {"delete from spans", "25006"}, {"select * from nothing", "42P01"}, {"selec 1", "42601"},
        };
        for (String[] statement : statements) {
            try (Statement asked = connection.createStatement()) {
                asked.execute(statement[0]);
                throw new AssertionError(statement[0] + " is answered");
            } catch (SQLException refused) {
                check(statement[1].equals(refused.getSQLState()), refused.toString());
            }
        }
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
