import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.TimeZone;

/**
 * Every span of the recording, by both JDBC drivers: java RecordingJdbc.java FLIGHT_PORT POSTGRES_PORT TOKEN SPANS DURATION.
 *
 * Each column of each row is read, as a tool reads it that shows the table. It ends with status 0 if there are so many rows,
 * and their durations are so long together.
 */
public class RecordingJdbc {
    private static final int PART = 500;

    public static void main(String[] arguments) throws SQLException {
        // The driver of PostgreSQL names the machine's zone when it connects.
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        String token = arguments[2];
        long spans = Long.parseLong(arguments[3]);
        long duration = Long.parseLong(arguments[4]);
        String flight = "jdbc:arrow-flight-sql://127.0.0.1:" + arguments[0] + "/?useEncryption=false&token=" + token;
        try (Connection connection = DriverManager.getConnection(flight)) {
            check(connection, "select * from spans", spans, duration);
            // More rows than a batch has.
            check(connection, "select s.* from spans as s, generate_series(1, 2) as n", 2 * spans, 2 * duration);
        }
        String postgres = "jdbc:postgresql://127.0.0.1:" + arguments[1] + "/tracerag";
        try (Connection connection = DriverManager.getConnection(postgres, "java", token)) {
            // Within a transaction the driver reads a portal part by part.
            connection.setAutoCommit(false);
            check(connection, "select * from spans", spans, duration);
            connection.commit();
        }
    }

    private static void check(Connection connection, String query, long spans, long duration) throws SQLException {
        long rows = 0;
        long sum = 0;
        long letters = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(PART);
            try (ResultSet row = statement.executeQuery(query)) {
                ResultSetMetaData columns = row.getMetaData();
                while (row.next()) {
                    rows++;
                    sum += row.getLong("duration_ns");
                    letters += String.valueOf(row.getObject("attributes")).length();
                    for (int column = 1; column <= columns.getColumnCount(); column++) {
                        // The driver of Flight SQL gives times with a zone as timestamps only.
                        boolean isTime = columns.getColumnType(column) == Types.TIMESTAMP_WITH_TIMEZONE;
                        String.valueOf(isTime ? row.getTimestamp(column) : row.getObject(column));
                    }
                }
            }
        }
        if (rows != spans || sum != duration || letters <= 4 * spans) {
            throw new AssertionError(query + ": " + rows + " rows, " + sum + " ns, attributes of " + letters + " letters");
        }
    }
}
