package awsapi_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rediam/rediam/internal/world"
)

// BenchmarkCalls is signed calls by 50 clients over loopback HTTP, who sign in the
// same process.
func BenchmarkCalls(b *testing.B) {
	e := serve(b)
	fill(b, e.world, 20)
	var clients atomic.Int64 // of all rounds: one may leave a user behind
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}}
	for _, row := range []struct{ name, service, first, second string }{
		{"GetRole", "iam", "Action=GetRole&RoleName=orders-app", "Action=GetRole&RoleName=orders-app"},
		{"DescribeUsers", "elasticache", "Action=DescribeUsers", "Action=DescribeUsers"},
		{"CreateUser and DeleteUser", "elasticache", "Action=CreateUser&UserId=%s&UserName=%[1]s&Engine=redis&AccessString=on&AuthenticationMode.Type=iam", "Action=DeleteUser&UserId=%s"},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.SetParallelism(25) // times the processors
			b.RunParallel(func(pb *testing.PB) {
				id := fmt.Sprintf("u%d", clients.Add(1))
				for n := 0; pb.Next(); n++ {
					body := row.first
					if n%2 == 1 {
						body = row.second
					}
					body = strings.ReplaceAll(strings.ReplaceAll(body, "%[1]s", id), "%s", id)
					r := request(b, "POST", e.url, body, "")
					sign(b, r, body, e.key, row.service, e.world.Now())
					response, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					answer, err := io.ReadAll(response.Body)
					response.Body.Close()
					if response.StatusCode != 200 || err != nil {
						b.Errorf("%s: %v", answer, err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkDescribeThousandUsers walks through the pages of as many users as there can
// be, in ten groups.
func BenchmarkDescribeThousandUsers(b *testing.B) {
	e := serve(b)
	fill(b, e.world, 998) // besides those that are there from the beginning
	for b.Loop() {
		users := 0
		for marker := ""; ; {
			var page struct {
				Users  []string `xml:"DescribeUsersResult>Users>member>UserId"`
				Marker string   `xml:"DescribeUsersResult>Marker"`
			}
			if err := xml.Unmarshal([]byte(e.call(b, "elasticache", "Action=DescribeUsers&Marker="+marker, "").body), &page); err != nil {
				b.Fatal(err)
			}
			users += len(page.Users)
			if marker = page.Marker; marker == "" {
				break
			}
		}
		if users != 1000 {
			b.Fatalf("%d users", users)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/10, "ms/page")
}

// fill makes users, and groups of a hundred.
func fill(b *testing.B, w *world.World, n int) {
	b.Helper()
	var ids []string
	for i := range n {
		id := fmt.Sprintf("user-%03d", i)
		if err := w.PutUser(world.User{ID: id, Name: id, Engine: "valkey", Access: "on ~app:* -@all +@read"}); err != nil {
			b.Fatal(err)
		}
		if ids = append(ids, id); len(ids) == 100 {
			if err := w.PutGroup(world.Group{ID: "g" + id, Engine: "valkey", Users: ids}); err != nil {
				b.Fatal(err)
			}
			ids = nil
		}
	}
}
