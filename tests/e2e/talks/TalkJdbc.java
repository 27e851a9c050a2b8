// SPDX-License-Identifier: Apache-2.0
// pgjdbc's part of a talk. Prints all that it gets, but pids. usage: java TalkJdbc URL USER PASSWORD STATEMENTS MODE
// (MODE: preferQueryMode of pgjdbc)

import java.io.StringReader;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.util.HexFormat;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public final class TalkJdbc {
  private static Connection conn;

  private static String shortened(String text) {
    return text == null || text.length() < 500 ? text : text.length() + " characters, " + text.hashCode();
  }

  private static void show(SQLException failure) {
    for (SQLException e = failure; e != null; e = e.getNextException()) {
      ServerErrorMessage m = e instanceof PSQLException p ? p.getServerErrorMessage() : null;
      System.out.println("   failed " + e.getSQLState() + " " + (m == null ? e.getMessage()
          : m.getMessage() + "|" + m.getDetail() + "|" + m.getHint() + "|" + m.getPosition() + "|" + m.getWhere() + "|"
          + m.getTable() + "|" + m.getColumn() + "|" + m.getConstraint() + "|" + m.getRoutine()));
    }
  }

  private static void show(ResultSet rows) throws SQLException {
    var columns = rows.getMetaData();
    for (int c = 1; c <= columns.getColumnCount(); ++c)
      System.out.println("    column " + columns.getColumnLabel(c) + " " + columns.getColumnTypeName(c));
    while (rows.next()) {
      var line = new StringBuilder("    ");
      for (int c = 1; c <= columns.getColumnCount(); ++c) {
        Object bytes = columns.getColumnTypeName(c).equals("bytea") ? rows.getBytes(c) : null;
        line.append(" [");
        line.append(bytes instanceof byte[] b ? HexFormat.of().formatHex(b) : rows.getString(c)).append(']');
      }
      System.out.println(shortened(line.toString()));
    }
  }

  private static void show(Statement statement, boolean hasRows) throws SQLException {
    for (;;) {
      if (hasRows) {
        try (ResultSet rows = statement.getResultSet()) { show(rows); }
      } else if (statement.getUpdateCount() < 0) {
        break;
      } else {
        System.out.println("   count " + statement.getUpdateCount());
      }
      hasRows = statement.getMoreResults();
    }
    for (SQLWarning w = statement.getWarnings(); w != null; w = w.getNextWarning())
      System.out.println("   notice " + w.getSQLState() + " " + w.getMessage());
  }

  private static void run(String text) throws SQLException {
    System.out.println("run " + shortened(text));
    try (Statement statement = conn.createStatement()) {
      statement.setEscapeProcessing(false);
      show(statement, statement.execute(text));
    } catch (SQLException e) {
      show(e);
    }
    PGNotification[] notifications = conn.isClosed() ? null : conn.unwrap(PGConnection.class).getNotifications();
    if (notifications != null)
      for (PGNotification n : notifications)
        System.out.println("   notification " + n.getName() + " " + n.getParameter());
  }

  private static void prepared() throws SQLException {
    try (PreparedStatement ps =
        conn.prepareStatement("select id, name, ?::bytea from item where id <= ? order by id")) {
      for (int i = 1; i <= 9; ++i) {
        ps.setBytes(1, i % 3 == 0 ? null : new byte[] {0, (byte) i, -1});
        ps.setInt(2, i);
        show(ps, ps.execute());
      }
    }
    try (PreparedStatement ps = conn.prepareStatement("select 1 / ?")) {
      for (int i = 0; i < 7; ++i) {
        ps.setInt(1, i % 5);
        try { show(ps, ps.execute()); } catch (SQLException e) { show(e); }
      }
    }
    try (PreparedStatement ps = conn.prepareStatement("insert into journal (entry) values (?)",
        Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 0; i < 300; ++i) {
        ps.setString(1, "batch " + i);
        ps.addBatch();
      }
      System.out.println("batch " + ps.executeBatch().length);
      show(ps.getGeneratedKeys());
    }
    try (Statement s = conn.createStatement()) {
      s.addBatch("insert into journal (entry) values ('a')");
      s.addBatch("insert into item values (1, 'taken')");
      s.addBatch("insert into journal (entry) values ('b')");
      s.executeBatch();
    } catch (SQLException e) {
      show(e);
    }
  }

  private static void portal() throws SQLException {
    conn.setAutoCommit(false);
    try (PreparedStatement ps = conn.prepareStatement("select g from generate_series(1, ?) g")) {
      ps.setFetchSize(10);
      ps.setInt(1, 45);
      show(ps, ps.execute());
    }
    var savepoint = conn.setSavepoint("s");
    run("select * from nowhere");
    run("select 'in a failed transaction'");
    conn.rollback(savepoint);
    run("select 'goes on'");
    conn.commit();
    conn.setAutoCommit(true);
  }

  private static void copies() throws Exception {
    var copy = conn.unwrap(PGConnection.class).getCopyAPI();
    System.out.println("copied " + copy.copyIn("copy lines (a, b) from stdin", new StringReader("1\tone\n2\t\\N\n")));
    try {
      copy.copyIn("copy lines (a) from stdin", new StringReader("x\n"));
    } catch (SQLException e) {
      show(e);
    }
    var out = new StringWriter();
    System.out.println("copied " + copy.copyOut("copy (select a, b from lines order by id) to stdout", out) + out);
  }

  private static void cancelled() throws Exception {
    try (Statement statement = conn.createStatement()) {
      var thread = new Thread(() -> {
        try {
          Thread.sleep(150);
          statement.cancel();
        } catch (Exception e) {
          System.out.println(e);
        }
      });
      thread.start();
      try {
        statement.execute("select pg_sleep(30)");
      } catch (SQLException e) {
        show(e);
      }
      thread.join();
    }
  }

  public static void main(String[] arguments) throws Exception {
    var properties = new Properties();
    properties.setProperty("user", arguments[1]);
    properties.setProperty("password", arguments[2]);
    properties.setProperty("preferQueryMode", arguments[4]);
    conn = DriverManager.getConnection(arguments[0], properties);
    System.out.println(conn.getMetaData().getDatabaseProductVersion());
    for (String text : Files.readAllLines(Path.of(arguments[3])))
      if (!text.contains("German")) run(text);  // pgjdbc ends a session whose dates it cannot read
    run("select 1; select 2 as two; select 1 / 0; select 3");
    if (!arguments[4].equals("simple")) prepared();
    portal();
    copies();
    try (ResultSet tables = conn.getMetaData().getTables(null, "public", "%", null)) { show(tables); }
    cancelled();
    run("select pg_terminate_backend(pg_backend_pid())");
    System.out.println("closed " + conn.isClosed());
  }
}
