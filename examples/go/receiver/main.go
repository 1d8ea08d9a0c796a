// Receives webhooks and prints each event once: WEBHOOK_SECRET=whsec_… go run ./receiver
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	// What `genflow webhook-secret alice` prints: while the operator replaces the signing secret, alice has two. A webhook
	// that matches one of them is genuine. (A line with whpk_ is a public key, for receivers that verify v1a.)
	var secrets []*standardwebhooks.Webhook
	for _, word := range strings.Fields(os.Getenv("WEBHOOK_SECRET")) {
		if !strings.HasPrefix(word, "whsec_") {
			continue
		}
		secret, err := standardwebhooks.NewWebhook(word)
		if err != nil {
			log.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	isGenuine := func(body []byte, headers http.Header) bool {
		for _, secret := range secrets {
			if secret.Verify(body, headers) == nil { // also refuses one that is more than five minutes old
				return true
			}
		}
		return false
	}
	// In your program, a table with a unique column: a webhook is delivered at least once.
	var seen sync.Map
	http.HandleFunc("POST /", func(response http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body) // the raw body, as it was signed
		var event struct {
			Data struct {
				RequestID string `json:"request_id"`
				Retry     int    `json:"retry"`
				Sequence  int    `json:"sequence"`
				Type      string `json:"type"`
			} `json:"data"`
		}
		if err != nil || !isGenuine(body, request.Header) || json.Unmarshal(body, &event) != nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, repeated := seen.LoadOrStore(request.Header.Get("webhook-id"), true); !repeated {
			// Webhooks may overtake each other: order them by retry, then sequence.
			fmt.Printf("%s %d/%d %s\n", event.Data.RequestID, event.Data.Retry, event.Data.Sequence, event.Data.Type)
		}
		response.WriteHeader(http.StatusNoContent)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
