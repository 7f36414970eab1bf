/*
 * The doorbell: no fact waits for a timer, and none is lost.
 *
 * This is the protocol of worker/doc.go in Promela, for spin to take through every order of steps. Beside each step
 * stands the code that it is a model of: ring() in doorbell.sql, and worker/doorbell.go (D), leader.go, session.go. One
 * step here is what others can see of one statement there. Time does not exist: there is no poll, no probe and no
 * ping, so whatever is folded here was folded because somebody was awake or was woken.
 *
 *   spin -search -ltl asleep_on_nothing doorbell.pml
 *
 * README.md has the properties and the variants, which are this protocol with one mistake. A variant is chosen with -D
 * before -search; look for its name to see the mistake. PLAIN leaves out savepoints, prepared transactions, held rows
 * and waking for nothing, so that there is room for a third transaction.
 */

#ifndef WRITERS
#define WRITERS 2  /* transactions, each of up to two statements */
#endif
#ifndef SESSIONS
#define SESSIONS 2 /* listening connections: workers that stand by, or one that connects again */
#endif
#ifndef LOST
#define LOST 1     /* how many of those are lost; one remains */
#endif

#define NOBODY 255
#define bit(n) (1 << (n))

/* What the server has. */
byte queue;              /* transactions with a committed fact in headway.pending_fact */
byte busy;               /* transactions whose project somebody holds, so that fold() passes over it */
byte shared;             /* transactions that hold KEY shared */
byte nested;             /* the same in a subtransaction that has not ended */
byte exclusive = NOBODY; /* the session that holds KEY exclusively */
byte leader = NOBODY;    /* the session that holds the leader's lock */
byte subscribed;         /* sessions that LISTEN to headway_doorbell */
byte coming;             /* sessions to which a notification is on its way */

/* What the workers know. */
byte rung;    /* sessions that have heard the bell since they last forgot it: session.rung */
byte asleep;  /* sessions in doorbell.sleep */
bool stirred; /* a sleeper wakes though nobody rang */
byte lost;    /* sessions whose connection is gone, which the server may not know yet */

#define mine bit(me)

/* A sleeping worker that could be woken, a fact, and nothing that would wake it. */
#define awaited (rung | coming)
#define asleep_on_a_fact (queue != 0 && (asleep & ~lost & ~awaited) != 0)

ltl asleep_on_nothing { [] !asleep_on_a_fact }
ltl every_fact_is_folded { [] ((queue != 0) -> <> (queue == 0)) }
ltl comes_to_rest { <> [] ((asleep & ~lost) != 0 && queue == 0) }

/* headway.ring(): silent with KEY, or a bell that rings at commit. */
inline ring(locks, bell) {
  if
#ifdef RINGS_ONCE
  :: told /* a session variable remembers that it rang, and no rollback takes that back */
  :: d_step { !told && exclusive == NOBODY -> locks = locks | mine; told = true }
  :: !told && exclusive != NOBODY -> bell = true; told = true
#else
  :: d_step { exclusive == NOBODY -> locks = locks | mine } /* pg_try_advisory_xact_lock_shared: granted */
  :: exclusive != NOBODY -> bell = true                     /* refused: pg_notify */
#endif
  fi
}

/* The trigger of a statement: the fact is written, then it rings. Either order is right, for both happen at commit. */
inline change(locks, fact, bell) {
#ifdef RINGS_FIRST
  ring(locks, bell);
  fact = true
#else
  fact = true;
  ring(locks, bell)
#endif
}

/* An application's transaction. */
proctype writer(byte me) {
  bool fact, bell;                /* what will become visible with the commit */
  bool nested_fact, nested_bell;  /* what was done since the savepoint */
#ifdef RINGS_ONCE
  bool told;
#endif

#ifndef PLAIN
  if
  :: skip
  :: change(nested, nested_fact, nested_bell);
     if
     :: d_step { /* release savepoint */
          fact = nested_fact; bell = nested_bell;
          shared = shared | (nested & mine); nested = nested & ~mine
        }
     :: nested = nested & ~mine /* rollback to savepoint: fact, lock and notification go together */
     fi;
     nested_fact = false; nested_bell = false
  fi;
#endif
  if
  :: fact
  :: change(shared, fact, bell)
  fi;

  if
  :: goto rolled_back
  :: skip
#ifndef PLAIN
  :: !bell -> /* prepare transaction, which PostgreSQL refuses to one that has notified; the locks stay with it */
#ifdef UNLOCKS_AT_PREPARE
     shared = shared & ~mine;
#endif
     if
     :: skip             /* commit prepared */
     :: goto rolled_back /* rollback prepared */
     fi
#endif
  fi;

#ifdef UNLOCKS_EARLY
  shared = shared & ~mine;
#endif
  /*
   * Commit. Others see the fact and whoever listens now is owed the notification: it is in the server's queue already,
   * and a server that goes down before it is delivered takes the listening session down, too.
   */
  d_step {
    queue = queue | mine;
    if
    :: bell -> coming = coming | subscribed
    :: else
    fi
  };
rolled_back:
  fact = false; bell = false;
  shared = shared & ~mine /* CommitTransaction releases locks when all see what it did */
}

/* Worker.serve on one connection, from standing by to the end of the connection. */
proctype session(byte me) {
  byte seen;

end_standby:
  /* standBy: sqlTryLead, again and again. Any may be the next, but they are all alike, so they go by their numbers. */
  d_step { leader == NOBODY && lost == mine - 1 -> leader = me };

  {
#ifdef LISTENS_LAST
    skip;
#else
    subscribed = subscribed | mine;                /* D lead: subscribe */
#endif

round:
#ifndef FORGETS_AFTER_THE_FOLD
    rung = rung & ~mine;                           /* D round: d.rung = false */
#endif
    seen = queue & ~busy;                                 /* D round: w.fold; its snapshot … */
    d_step { queue = queue & ~seen; seen = 0 };           /* … and its commit */
#ifdef FORGETS_AFTER_THE_FOLD
    rung = rung & ~mine;
#endif

    if                                                    /* D lieDown: sqlTryKey */
    :: d_step { shared == 0 && nested == 0 && exclusive == NOBODY -> exclusive = me }
#ifdef SLEEPS_THOUGH_REFUSED
    :: shared != 0 || nested != 0 || exclusive != NOBODY
#else
    :: shared != 0 || nested != 0 || exclusive != NOBODY -> goto round /* Refused */
#endif
    fi;

#ifdef RELEASES_EARLY
    exclusive = NOBODY;
#endif
#ifndef DOES_NOT_LOOK
    if                                                    /* D lieDown: sqlLook */
    :: queue != 0 ->
       d_step { exclusive == me -> exclusive = NOBODY };  /* D wake; Deferred */
       goto round
    :: queue == 0
    fi;
#endif
#ifdef LISTENS_LAST
    subscribed = subscribed | mine;
#endif

#ifdef FORGETS_BEFORE_SLEEP
    rung = rung & ~mine;
#endif

    asleep = asleep | mine;                        /* D sleep */
end_asleep:
    if
    :: (rung & mine) != 0
#ifndef PLAIN
    :: stirred -> stirred = false                         /* for whatever else; it goes to sleep again */
#endif
    fi;
    asleep = asleep & ~mine;
    if                                                    /* D wake: sqlReleaseKey */
    :: d_step { exclusive == me -> exclusive = NOBODY }
#ifdef SLEEPS_THOUGH_REFUSED
    :: exclusive != me
#endif
#ifdef RELEASES_EARLY
    :: exclusive != me
#endif
    fi;
    goto round
  } unless { (lost & mine) != 0 }
}

/* The server's part: it delivers what was notified, and lets go of what a lost connection held, in any order. */
active proctype server() {
end:
  do
  :: d_step { (coming & ~lost) != 0 -> rung = rung | (coming & ~lost); coming = coming & lost } /* OnNotification */
  :: d_step { leader != NOBODY && (lost & bit(leader)) != 0 -> leader = NOBODY }
  :: d_step { (subscribed & lost) != 0 -> subscribed = subscribed & ~lost; coming = coming & ~lost }
#ifndef KEY_ELSEWHERE
  :: d_step { exclusive != NOBODY && (lost & bit(exclusive)) != 0 -> exclusive = NOBODY }
#endif
#ifdef SUBSCRIPTION_DIES
  :: d_step { (subscribed & asleep) != 0 -> subscribed = 0; coming = 0 }
#endif
  od
}

/* What else happens, at any moment or not at all. */
active proctype world() {
  byte losses;
#ifndef PLAIN
  bool once;
#endif
  do
  :: d_step { losses < LOST && leader == losses -> lost = lost | bit(losses); losses++ } /* the leader's connection */
#ifndef PLAIN
  :: d_step { !once -> once = true; busy = bit(0) }                 /* somebody takes the rows of a project … */
  :: busy != 0 -> busy = 0                                          /* … and gives them back */
  :: d_step { !once && asleep != 0 -> once = true; stirred = true } /* a sleeping worker wakes for no reason */
#endif
  :: busy == 0 -> break
  od
}

init {
  atomic {
    byte i;
    for (i : 0 .. SESSIONS - 1) {
      run session(i)
    };
    for (i : 0 .. WRITERS - 1) {
      run writer(i)
    }
  }
}
