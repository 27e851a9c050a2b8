// SPDX-License-Identifier: Apache-2.0
// pgjdbc: unnamed and server-side prepared statements, batches, portals with a row limit, generated keys, transactions,
// errors, and the simple protocol. usage: java JdbcClient URL USER TAG ROUNDS

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

public final class JdbcClient {
  private static String tagPrefix;
  private static int nextTag = 0;

  private static String newTag() {
    return tagPrefix + "." + nextTag++;
  }

  private static void report(String tag, int rows, String sqlstate) {
    System.out.printf("{\"tag\": \"%s\", \"rows\": %d, \"sqlstate\": \"%s\"}%n", tag, rows, sqlstate);
  }

  private static int count(ResultSet rows) throws SQLException {
    int n = 0;
    while (rows.next()) ++n;
    return n;
  }

  // Above prepareThreshold (5) pgjdbc moves to a named statement and binary transfer.
  private static void prepared(Connection conn) throws SQLException {
    String tag = newTag();
    try (PreparedStatement ps =
        conn.prepareStatement("select id, name /*gh:" + tag + "*/ from item where id <= ? and name <> ?")) {
      for (int i = 1; i <= 8; ++i) {
        ps.setInt(1, i);
        ps.setString(2, i % 3 == 0 ? null : "o'brien " + i);
        try (ResultSet rows = ps.executeQuery()) {
          int n = count(rows);
          report(tag, n, "");
        }
      }
    }
  }

  // Inside a transaction a fetch size becomes a portal: Execute with a row limit, again until it is exhausted.
  private static void portal(Connection conn) throws SQLException {
    conn.setAutoCommit(false);
    String tag = newTag();
    try (PreparedStatement ps = conn.prepareStatement("select g /*gh:" + tag + "*/ from generate_series(1, ?) g")) {
      ps.setFetchSize(10);
      ps.setInt(1, 35);
      try (ResultSet rows = ps.executeQuery()) {
        count(rows);
      }
    }
    conn.commit();
    conn.setAutoCommit(true);
  }

  private static void batch(Connection conn) throws SQLException {
    String tag = newTag();
    try (PreparedStatement ps = conn.prepareStatement("insert into journal (entry) values (? /*gh:" + tag + "*/)")) {
      for (int i = 0; i < 20; ++i) {
        ps.setString(1, "batch " + i);
        ps.addBatch();
      }
      ps.executeBatch();
    }
  }

  private static void failures(Connection conn) throws SQLException {
    for (String text : new String[] {"select 1/0", "select from nowhere", "selct 1"}) {
      String tag = newTag();
      try (Statement statement = conn.createStatement()) {
        statement.execute(text + " /*gh:" + tag + "*/");
      } catch (SQLException e) {
        report(tag, -1, e.getSQLState());
      }
    }
  }

  private static void statements(Connection conn) throws SQLException {
    String tag = newTag();
    try (Statement statement = conn.createStatement()) {
      statement.execute("select 1 /*gh:" + tag + "*/; select 2; select 3");
      statement.execute("update item set name = name /*gh:" + newTag() + "*/ where id = 1");
    }
  }

  public static void main(String[] args) throws Exception {
    tagPrefix = args[2];
    for (String mode : new String[] {"extended", "simple", "extendedForPrepared"}) {
      Properties properties = new Properties();
      properties.setProperty("user", args[1]);
      properties.setProperty("sslmode", "disable");
      properties.setProperty("ApplicationName", "gh:java:" + ProcessHandle.current().pid());
      properties.setProperty("preferQueryMode", mode);
      try (Connection conn = DriverManager.getConnection(args[0], properties)) {
        for (int round = 0; round < Integer.parseInt(args[3]); ++round) {
          prepared(conn);
          portal(conn);
          batch(conn);
          failures(conn);
          statements(conn);
        }
      }
    }
  }
}
