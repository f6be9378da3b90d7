package payments

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// Inventory asks the inventory service whether an article is there before money is taken for it.
type Inventory struct {
	base   string
	client http.Client
}

// NewInventory is a client of the service at base, for example http://127.0.0.1:8082. Its deadline is the caller's.
func NewInventory(base string) *Inventory {
	return &Inventory{base: base, client: http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}}
}

// InventoryError is an answer of the inventory service that is not a yes.
type InventoryError struct {
	Status int
	Body   string
}

func (e *InventoryError) Error() string {
	return fmt.Sprintf("inventory answers %d: %s", e.Status, e.Body)
}

// Confirm reserves the article for the order.
func (i *Inventory) Confirm(ctx context.Context, sku, orderID string) error {
	target := fmt.Sprintf("%s/reservations/%s?order=%s", i.base, url.PathEscape(sku), url.QueryEscape(orderID))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return err
	}
	response, err := i.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return &InventoryError{Status: response.StatusCode, Body: string(body)}
	}
	return nil
}
