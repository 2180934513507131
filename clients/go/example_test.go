package ooml_test

import (
	"context"
	"fmt"
	"log"

	ooml "github.com/ooml/ooml/clients/go"
	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
)

func Example() {
	client, err := ooml.NewClient("127.0.0.1:50051")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	decision, err := client.Score(ctx, &banditv1.ScoreRequest{
		Policy:   "tips",
		Entities: map[string]string{"user_id": "user-00"},
		Candidates: []*banditv1.Candidate{
			{Id: "write", Entities: map[string]string{"task_id": "user-00-task-00"}},
			{Id: "call", Entities: map[string]string{"task_id": "user-00-task-01"}},
		},
	})
	if err != nil {
		log.Fatal(err, ooml.Details(err).Violations)
	}
	fmt.Printf("%s, chosen with probability %.3f\n", decision.CandidateId, decision.Propensity)
	answer, err := client.Reward(ctx, &banditv1.RewardRequest{
		DecisionId: decision.DecisionId, Result: &banditv1.RewardRequest_Outcome{Outcome: "done"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: it counts for %g\n", answer.Status, answer.GetValue())
}
