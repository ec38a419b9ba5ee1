// Counts a product, watches what a channel may sell of it, sells some and ships the order.
//
// Run it against `make run`:  go run . [HOST:PORT]
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "example.com/truestock-example/truestock/v1"
)

const channel, sku, store = "shopify", "TRN-1205-MOS", "store-austin"

func main() {
	address := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if err := run(context.Background(), address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := connect(address)
	if err != nil {
		return err
	}
	defer t.connection.Close()
	if err := t.count(ctx, 40); err != nil {
		return err
	}
	figures, failed := t.watch(ctx, channel, sku)
	if err := showNext(figures, failed); err != nil {
		return err
	}
	allocation, err := t.sell(ctx, 2)
	if err != nil {
		return err
	}
	if err := showNext(figures, failed); err != nil {
		return err
	}
	return t.ship(ctx, allocation)
}

// count reports what a person has counted. The change's id makes a repetition harmless.
func (t *truestock) count(ctx context.Context, units int32) error {
	change := &pb.StockChange{
		ChangeId:      "count-" + newID(),
		Sku:           sku,
		LocationId:    store,
		Change:        &pb.StockChange_Count{Count: &pb.StockCount{OnHandCount: units}},
		EffectiveTime: timestamppb.Now(),
	}
	request := &pb.RecordStockChangesRequest{
		Source: "stocktake", Changes: []*pb.StockChange{change}, RequestId: newID(),
	}
	answer, err := call(ctx, t.stock.RecordStockChanges, request)
	if err != nil {
		return err
	}
	result := answer.Results[0]
	name := strings.ToLower(strings.TrimPrefix(result.Result.String(), "CHANGE_RESULT_"))
	fmt.Println(strings.TrimSpace(fmt.Sprintf("counted  %d of %s at %s: %s %s", units, sku, store, name, result.Reason)))
	return nil
}

func showNext(figures <-chan int64, failed <-chan error) error {
	select {
	case units := <-figures:
		fmt.Printf("watched  %s may sell %d of %s\n", channel, units, sku)
		return nil
	case err := <-failed:
		return err
	}
}

// sell holds the stock while the shopper pays, then confirms. An outcome that is not "allocated" is no error.
func (t *truestock) sell(ctx context.Context, units int32) (*pb.Allocation, error) {
	order := &pb.AllocateOrderRequest{
		ChannelId:   channel,
		OrderId:     "example-" + newID(),
		Lines:       []*pb.OrderLine{{Sku: sku, UnitCount: units}},
		Commitment:  pb.Commitment_COMMITMENT_HOLD,
		Destination: &pb.Destination{Country: "US", Region: "TX"},
		RequestId:   newID(),
	}
	held, err := call(ctx, t.allocations.AllocateOrder, order)
	if err != nil {
		return nil, err
	}
	until := held.Allocation.ExpireTime.AsTime().Format("15:04")
	fmt.Printf("held     %d until %s UTC for %s/%s\n", units, until, channel, order.OrderId)
	confirm := &pb.ConfirmAllocationRequest{AllocationId: held.Allocation.AllocationId, RequestId: newID()}
	sold, err := call(ctx, t.allocations.ConfirmAllocation, confirm)
	if err != nil {
		return nil, err
	}
	var locations []string
	for _, shipment := range sold.Allocation.Shipments {
		locations = append(locations, shipment.LocationId)
	}
	fmt.Printf("sold     %d, from %s\n", units, strings.Join(locations, ", "))
	return sold.Allocation, nil
}

// ship does the work of each location: accepts its shipment, then reports that it has left.
func (t *truestock) ship(ctx context.Context, allocation *pb.Allocation) error {
	for _, shipment := range allocation.Shipments {
		accept := &pb.AcceptShipmentRequest{ShipmentId: shipment.ShipmentId, RequestId: newID()}
		if _, err := call(ctx, t.fulfillment.AcceptShipment, accept); err != nil {
			return err
		}
		request := &pb.ShipShipmentRequest{
			ShipmentId: shipment.ShipmentId, EventId: "label-" + shipment.ShipmentId, RequestId: newID(),
		}
		shipped, err := call(ctx, t.fulfillment.ShipShipment, request)
		if err != nil {
			return err
		}
		allocation = shipped.Allocation
	}
	name := strings.ToLower(strings.TrimPrefix(allocation.Status.String(), "ORDER_STATUS_"))
	fmt.Printf("shipped  %s/%s: %s\n", channel, allocation.OrderId, name)
	return nil
}
