package lab

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

func TestArrivalsAreAsManyAsTheRateSays(t *testing.T) {
	t.Parallel()
	due := pace{duration: 10 * time.Second, rate: 200}.arrivals()
	if len(due) != 2000 {
		t.Errorf("%d arrivals in ten seconds at 200 a second", len(due))
	}
	for i := 1; i < len(due); i++ {
		if due[i] < due[i-1] || due[i] >= 10*time.Second {
			t.Fatalf("arrival %d is due after %v, the one before after %v", i, due[i], due[i-1])
		}
	}
}

func TestEveryTaskIsGivenOutOnce(t *testing.T) {
	t.Parallel()
	shape := Shape{Projects: 3, Customers: 4, Tasks: 2500, Done: 7}
	one := &turn{load: newLoad(shape)}
	if done := one.load.total(); done != 7 {
		t.Errorf("%d are completed to begin with", done)
	}
	random := rand.New(rand.NewPCG(0, 0))
	given := map[int64]bool{}
	for range 2493 {
		task, project, user, err := one.next(random)
		if err != nil {
			t.Fatal(err)
		}
		if task <= 7 || task > 2500 || given[task] || project != 1+(task-1)%3 || user <= (project-1)*4 || user > project*4 {
			t.Fatalf("task %d of project %d for person %d, after %d others", task, project, user, len(given))
		}
		given[task] = true
	}
	if _, _, _, err := one.next(random); !errors.Is(err, errNoTasks) {
		t.Errorf("there is one more: %v", err)
	}
}
