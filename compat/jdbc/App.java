// A small application on JDBC: prepared statements that turn binary after five executions, cursors, metadata.
import java.math.BigDecimal;
import java.sql.*;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

public class App {
    static final String COLUMNS = "id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, "
        + "f8 double precision, n numeric(20,5), t text, v varchar(20), c char(5), x bytea, d date, ts timestamp, "
        + "tz timestamptz, u uuid, j jsonb, ai integer[], at text[]";
    static final String TABLE = "compat.jdbc";

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void equal(Object found, Object expected) {
        check(Objects.deepEquals(found, expected), "expected " + expected + ", found " + found);
    }

    static Connection connect() throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE");
        return DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    static void typedStatements(Connection conn) throws SQLException {
        UUID uuid = new UUID(1, 2);
        OffsetDateTime moment = OffsetDateTime.parse("2024-01-02T03:04:05Z");
        String insert = "INSERT INTO " + TABLE + " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?::jsonb,?,?)";
        try (PreparedStatement statement = conn.prepareStatement(insert)) {
            for (long id = 1; id <= 8; id++) {
                Object[] values = {id, true, (short) -32768, Integer.MAX_VALUE, Long.MIN_VALUE, 1.5f, 1e300,
                    new BigDecimal("123456789012345.67890"), "héllo 'wörld'", "twenty", "abc", new byte[] {0, -1, 98},
                    LocalDate.of(2024, 2, 29), LocalDateTime.of(2024, 1, 2, 3, 4, 5, 678_901_000), moment, uuid,
                    "{\"a\": [1, null]}", conn.createArrayOf("int4", new Integer[] {1, null, 3}),
                    conn.createArrayOf("text", new String[] {"a", "b,c", null})};
                for (int at = 0; at < values.length; at++) statement.setObject(at + 1, values[at]);
                equal(statement.executeUpdate(), 1);
            }
        }
        // From the fifth execution on the driver asks for binary results: they must be the same.
        try (PreparedStatement statement = conn.prepareStatement("SELECT * FROM " + TABLE + " WHERE id = ?")) {
            for (long id = 1; id <= 8; id++) {
                statement.setLong(1, id);
                try (ResultSet row = statement.executeQuery()) {
                    check(row.next(), "the row is there");
                    equal(row.getLong("id"), id);
                    equal(row.getBoolean("b"), true);
                    equal(row.getShort("i2"), (short) -32768);
                    equal(row.getInt("i4"), Integer.MAX_VALUE);
                    equal(row.getLong("i8"), Long.MIN_VALUE);
                    equal(row.getFloat("f4"), 1.5f);
                    equal(row.getDouble("f8"), 1e300);
                    equal(row.getBigDecimal("n"), new BigDecimal("123456789012345.67890"));
                    equal(row.getString("t"), "héllo 'wörld'");
                    equal(row.getString("v"), "twenty");
                    equal(row.getString("c"), "abc  ");
                    equal(row.getBytes("x"), new byte[] {0, -1, 98});
                    equal(row.getObject("d", LocalDate.class), LocalDate.of(2024, 2, 29));
                    equal(row.getObject("ts", LocalDateTime.class), LocalDateTime.of(2024, 1, 2, 3, 4, 5, 678_901_000));
                    equal(row.getObject("tz", OffsetDateTime.class).toInstant(), moment.toInstant());
                    equal(row.getObject("u"), uuid);
                    equal(row.getString("j"), "{\"a\": [1, null]}");
                    equal(row.getArray("ai").getArray(), new Integer[] {1, null, 3});
                    equal(row.getArray("at").getArray(), new String[] {"a", "b,c", null});
                    ResultSetMetaData meta = row.getMetaData();
                    equal(meta.getColumnCount(), 19);
                    equal(meta.getColumnTypeName(8), "numeric");
                    equal(meta.getPrecision(8), 20);
                    equal(meta.getScale(8), 5);
                }
            }
        }
        try (PreparedStatement statement = conn.prepareStatement("INSERT INTO " + TABLE + " (id, t) VALUES (?, ?)")) {
            for (int id = 100; id < 1100; id++) {
                statement.setLong(1, id);
                statement.setString(2, "row " + id);
                statement.addBatch();
            }
            equal(statement.executeBatch().length, 1000);
        }
    }

    static long count(Connection conn) throws SQLException {
        try (Statement statement = conn.createStatement(); ResultSet row = statement.executeQuery("SELECT count(*) FROM " + TABLE)) {
            row.next();
            return row.getLong(1);
        }
    }

    static void transactions(Connection conn) throws SQLException {
        long before = count(conn);
        conn.setAutoCommit(false);
        try (Statement statement = conn.createStatement()) {
            statement.executeUpdate("DELETE FROM " + TABLE);
            Savepoint savepoint = conn.setSavepoint();
            try {
                statement.executeUpdate("INSERT INTO " + TABLE + " (id) VALUES (7), (7)");
                throw new AssertionError("the key was taken twice");
            } catch (SQLException error) {
                equal(error.getSQLState(), "23505");
            }
            conn.rollback(savepoint);
            equal(count(conn), 0L);
        }
        conn.rollback();
        equal(count(conn), before);
        // A fetch size makes a portal with a row limit.
        try (Statement statement = conn.createStatement()) {
            statement.setFetchSize(100);
            List<Long> ids = new ArrayList<>();
            try (ResultSet rows = statement.executeQuery("SELECT id FROM " + TABLE + " WHERE id >= 100 ORDER BY id")) {
                while (rows.next()) ids.add(rows.getLong(1));
            }
            equal(ids.size(), 1000);
            equal(ids.get(999), 1099L);
        }
        conn.commit();
        conn.setAutoCommit(true);
        conn.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        equal(conn.getTransactionIsolation(), Connection.TRANSACTION_REPEATABLE_READ);
        conn.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    }

    static List<String> notes(Connection conn, int count) throws SQLException {
        List<String> found = new ArrayList<>();
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (found.size() < count && System.nanoTime() < deadline) {
            PGNotification[] notes = conn.unwrap(PGConnection.class).getNotifications(500);
            if (notes != null) Arrays.stream(notes).forEach(note -> found.add(note.getName() + " " + note.getParameter()));
        }
        return found;
    }

    static void notifications(Connection conn, Connection other) throws SQLException {
        try (Statement here = conn.createStatement(); Statement there = other.createStatement()) {
            here.execute("LISTEN news");
            there.execute("NOTIFY news, 'hello'");
            equal(notes(conn, 1), List.of("news hello"));
        }
    }

    static void live(Connection conn, Connection other) throws SQLException {
        try (Statement here = conn.createStatement(); Statement there = other.createStatement()) {
            String listen = "LISTEN inbox FOR SELECT id, t FROM " + TABLE + " WHERE id BETWEEN 5000 AND 5999";
            try (ResultSet rows = here.executeQuery(listen)) {
                check(!rows.next(), "no rows yet");
            }
            there.executeUpdate("INSERT INTO " + TABLE + " (id, t) VALUES (5000, 'live')");
            there.executeUpdate("UPDATE " + TABLE + " SET t = 'changed' WHERE id = 5000");
            there.executeUpdate("DELETE FROM " + TABLE + " WHERE id = 5000");
            List<String> events = notes(conn, 3);
            equal(events.size(), 3);
            String[] ops = {"insert", "update", "delete"};
            for (int at = 0; at < 3; at++) {
                String flat = events.get(at).replace(" ", "");
                check(flat.startsWith("inbox{") && flat.contains("\"op\":\"" + ops[at] + "\""), events.get(at));
            }
        }
    }

    static void metadata(Connection conn) throws SQLException {
        DatabaseMetaData meta = conn.getMetaData();
        equal(meta.getDatabaseMajorVersion(), 15);
        try (ResultSet tables = meta.getTables(null, "compat", "jdbc", new String[] {"TABLE"})) {
            check(tables.next(), "the table is in the catalogue");
        }
        List<String> names = new ArrayList<>();
        try (ResultSet columns = meta.getColumns(null, "compat", "jdbc", null)) {
            while (columns.next()) names.add(columns.getString("COLUMN_NAME"));
        }
        equal(names.size(), 19);
    }

    public static void main(String[] args) throws SQLException {
        try (Connection conn = connect(); Connection other = connect(); Statement statement = conn.createStatement()) {
            String version;
            try (ResultSet row = statement.executeQuery("SELECT version()")) {
                row.next();
                version = row.getString(1);
            }
            boolean isKalamdb = version.contains("KalamDB");
            statement.execute("CREATE SCHEMA IF NOT EXISTS compat");
            statement.execute("DROP TABLE IF EXISTS " + TABLE);
            statement.execute("CREATE " + (isKalamdb ? "USER " : "") + "TABLE " + TABLE + " (" + COLUMNS + ")");
            typedStatements(conn);
            transactions(conn);
            notifications(conn, other);
            if (isKalamdb) live(conn, other);
            metadata(conn);
            try (Statement last = other.createStatement()) {
                last.execute("DROP TABLE " + TABLE);
            }
        }
        System.out.println("jdbc ok");
    }
}
