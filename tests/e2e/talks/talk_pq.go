// SPDX-License-Identifier: Apache-2.0
// lib/pq's part of a talk. Prints all that it gets, but pids.
// usage: talk_pq STATEMENTS   (the connection comes from PG* variables)
package main

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/lib/pq"
)

func short(text string) string {
	if len(text) < 500 {
		return text
	}
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return fmt.Sprintf("%d bytes %x", len(text), hash.Sum64())
}

func failed(err error) {
	var e *pq.Error
	if errors.As(err, &e) {
		fmt.Println("   failed", e.Severity, e.Code, e.Message, e.Detail, e.Hint, e.Position, e.Where, e.Schema, e.Table,
			e.Column, e.Constraint, e.Routine)
	} else {
		fmt.Println("   failed", err)
	}
}

func run(conn *sql.Conn, ctx context.Context, text string, values ...interface{}) {
	fmt.Println("run", short(text))
	rows, err := conn.QueryContext(ctx, text, values...)
	if err != nil {
		failed(err)
		return
	}
	defer rows.Close()
	for {
		names, _ := rows.Columns()
		fmt.Println("   columns", names)
		for rows.Next() {
			cells := make([]interface{}, len(names))
			pointers := make([]interface{}, len(names))
			for i := range cells {
				pointers[i] = &cells[i]
			}
			if err := rows.Scan(pointers...); err != nil {
				failed(err)
			}
			fmt.Println("    ", short(fmt.Sprintf("%q", cells)))
		}
		if !rows.NextResultSet() {
			break
		}
	}
	if err := rows.Err(); err != nil {
		failed(err)
	}
}

func copyIn(conn *sql.Conn, ctx context.Context, last interface{}) {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		failed(err)
		return
	}
	statement, err := tx.Prepare(pq.CopyIn("lines", "a", "b"))
	if err != nil {
		failed(err)
		return
	}
	for i := 0; i < 100; i++ {
		statement.Exec(i, fmt.Sprint("row ", i))
	}
	statement.Exec(last, "last")
	if _, err := statement.Exec(); err != nil {
		failed(err)
		tx.Rollback()
		return
	}
	statement.Close()
	fmt.Println("committed", tx.Commit())
}

func main() {
	connector, err := pq.NewConnector("")
	if err != nil {
		panic(err)
	}
	var base driver.Connector = pq.ConnectorWithNoticeHandler(connector, func(e *pq.Error) {
		fmt.Println("   notice", e.Severity, e.Code, e.Message, e.Detail, e.Hint)
	})
	base = pq.ConnectorWithNotificationHandler(base, func(n *pq.Notification) {
		fmt.Println("   notification", n.Channel, n.Extra)
	})
	ctx := context.Background()
	conn, err := sql.OpenDB(base).Conn(ctx)
	if err != nil {
		fmt.Println("no connection:", err)
		os.Exit(1)
	}
	file, _ := os.Open(os.Args[1])
	var statements []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		statements = append(statements, scanner.Text())
	}
	for _, text := range statements {
		run(conn, ctx, text)
	}
	run(conn, ctx, "select 1; select 2; select 1 / 0; select 3")
	run(conn, ctx, "select $1::text, $2::int, $3::bytea, $4::bool", "it's", 5, []byte{0, 255}, nil)
	run(conn, ctx, "select $1::int", "no number")
	statement, err := conn.PrepareContext(ctx, "select id, name from item where id < $1")
	if err != nil {
		failed(err)
	} else {
		for i := 0; i < 5; i++ {
			var count int
			rows, err := statement.Query(i)
			if err != nil {
				failed(err)
				continue
			}
			for rows.Next() {
				count++
			}
			rows.Close()
			fmt.Println("   prepared", count)
		}
		statement.Close()
	}
	copyIn(conn, ctx, 7)
	copyIn(conn, ctx, "no number")
	limited, stop := context.WithTimeout(ctx, 150*time.Millisecond)
	run(conn, limited, "select pg_sleep(30)")
	stop()
	conn.Close()
}
