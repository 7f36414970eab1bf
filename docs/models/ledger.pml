/*
 * The ledger of digests: what is mailed once, what perhaps twice, and what never.
 *
 * This is the life of a digest in docs/mail.md in Promela, for spin to take through every order of steps. Beside each
 * step stands the code that it is a model of: digests.sql, sending.sql, and worker/digest_*.go (D). One step here is one
 * transaction there. One person has one channel; what they have not read is reserved, claimed, frozen, sent and
 * confirmed by several senders, while the person reads on, workers die, leases run out, and statements and the mail
 * server's answers are lost.
 *
 *   spin -search -safety ledger.pml
 *
 * digest_when_unknown is resend, or with -DHOLD hold. README.md has the variants, which are this
 * ledger with one mistake. A variant is chosen with -D before -search; look for its name to see the mistake.
 */

#ifndef SENDERS
#define SENDERS 2  /* as many as are sent at a time; the last is another worker's than the others */
#endif
#ifndef TROUBLES
#define TROUBLES 1 /* how many deaths, losses and leases too short there are in all */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2 /* digest_max_attempts */
#endif
#define MESSAGES 2 /* and as many digests at most: each has one message at least */

/* What is promised, all of it, or with -DPROMISE=… one thing. */
#define ALL 0
#define IN_ONE_DIGEST 1      /* no message is in two digests */
#define LEDGER_FIRST 2       /* what a server hears of is on record, to the byte */
#define SAME_BYTES 3         /* every copy of a digest is the same */
#define NOTHING_READ 4       /* nothing that was read before the claim is in a mail */
#define AT_MOST_ONCE 5       /* with hold: no server takes a digest twice */
#define UNKNOWN_IS_SAID 6    /* one takes it twice only where unknown_at says that nobody knew */
#define COPIES_HAVE_CAUSES 7 /* there are no more copies but one than there was trouble */
#define ENDS_ARE_TRUE 8      /* sent was taken, read was read, failed was refused or given up, held is unknown */
#define NOTHING_IS_STUCK 9   /* what is unread gets into a digest, and every digest to an end */
#ifndef PROMISE
#define PROMISE ALL
#endif
#define promise(name, condition) assert(PROMISE != ALL && PROMISE != name || (condition))

#define bit(n) (1 << (n))
#define NOBODY 0

/* headway.digest.state; cancelled is left out. */
mtype = { none, reserved, sending, sent, read_before_sending, failed, held };

/* smtp.Outcome, where refused does to a digest what rejected does. */
mtype = { retry, rejected, unknown };

typedef digest {
  mtype state = none;
  byte items;         /* digest_item: the messages it is about */
  byte claimed_by;
  bool leased, late;  /* lease_until is not null, and is over */
  byte attempts;
  byte mail;          /* the frozen bytes: who rendered them, and the messages they tell of */
  bool unknown_at
};
digest ledger[MESSAGES];
byte digests;      /* rows of the ledger */
byte posted, read; /* the channel's messages, and what the person has read of them */
byte mailed;       /* subscription.mailed_seq: what no other digest can have */
bool lock;         /* lock_key('reserve') */

/* What only the model knows. */
typedef truth {
  byte accepted; /* how often a server took it */
  byte bytes;    /* what a server heard of first */
  bool refused;  /* a server refused it for good */
  byte hands     /* senders that are at work on it */
};
truth fate[MESSAGES];
byte ever;     /* messages that are or were in a digest */
byte troubles;

/* A misfortune, as long as there is one left. */
#define trouble d_step { troubles < TROUBLES -> troubles++ }

#define unmailed (posted & ~read & ~mailed)
#define rendered(by, messages) ((((by) + 1) << 4) | (messages))
#define messages_of(mail) ((mail) & 15)

/* post(), and mark_seen() in any order. */
proctype person() {
  do
#ifndef RESERVED
  :: d_step { posted != bit(MESSAGES) - 1 -> posted = (posted << 1) | 1 }
#endif
  :: d_step { (posted & ~read & bit(0)) != 0 -> read = read | bit(0) }
  :: d_step { (posted & ~read & bit(1)) != 0 -> read = read | bit(1) }
  :: posted == bit(MESSAGES) - 1 -> break /* the rest stays unread */
  od
}

#ifndef RESERVED
/* reserve_digests() and reserve_digest(): of who is due only that something is unread and unmailed. */
proctype reserver() {
  byte wanted, through;
end:
  do
#ifdef RESERVES_SIDE_BY_SIDE
  :: d_step { unmailed != 0 -> wanted = unmailed; through = posted };
#else
  :: d_step { !lock && unmailed != 0 ->
       lock = true;                         /* pg_advisory_xact_lock */
       wanted = unmailed; through = posted  /* in the statement's snapshot */
     };
#endif
     if
     :: trouble                             /* it rolls back */
     :: d_step {                            /* it commits digest, digest_item and mailed_seq */
          promise(IN_ONE_DIGEST, (wanted & ever) == 0);
          ever = ever | wanted;
          ledger[digests].state = reserved;
          ledger[digests].items = wanted;
          digests++;
#if defined(FORGETS_WHAT_IS_MAILED)
          skip
#elif defined(TAKES_LATE_ONES_FOR_MAILED)
          mailed = posted
#else
          mailed = mailed | through
#endif
        }
     fi;
     d_step { lock = false; wanted = 0; through = 0 }
  od
}
#endif

#ifdef IGNORES_LEASES
#define free(d) true
#else
#define free(d) (!ledger[d].leased || ledger[d].late)
#endif
#ifdef LEAVES_WHAT_IS_SENDING
#define stranded(d) false
#else
#define stranded(d) (ledger[d].state == sending && free(d))
#endif
#define claimable(d) (ledger[d].state == reserved && free(d) || stranded(d))

/* close_digest() */
inline close(as) {
  ledger[d].state = as; ledger[d].claimed_by = NOBODY; ledger[d].leased = false; ledger[d].late = false
}

inline give_to(who) {
  ledger[d].state = reserved; ledger[d].claimed_by = who; ledger[d].leased = true; ledger[d].late = false;
  fate[d].hands = fate[d].hands | bit(me)
}

/* A round of the loop in claim_digest(). What is fresh gives content, a retry gives mail, what is closed neither. */
inline claim() {
  before.state = ledger[d].state; before.claimed_by = ledger[d].claimed_by; before.attempts = ledger[d].attempts;
  before.leased = ledger[d].leased; before.late = ledger[d].late; before.unknown_at = ledger[d].unknown_at;
  if
  :: ledger[d].state == sending -> ledger[d].unknown_at = true /* its worker vanished with the mail in hand */
  :: else
  fi;
  if
#if defined(HOLD) && !defined(HOLD_SENDS_AGAIN)
  :: ledger[d].state == sending -> close(held)
#endif
  :: else -> if
  :: (ledger[d].items & ~read) == 0 -> close(read_before_sending)
  :: else -> if
  :: ledger[d].attempts >= ATTEMPTS -> close(failed)
  :: else -> give_to(claimant); if
#ifdef RENDERS_AGAIN
  :: true ->
#else
  :: ledger[d].mail == 0 ->
#endif
#ifdef TELLS_WHAT_WAS_RESERVED
     content = ledger[d].items;
#else
     content = ledger[d].items & ~read; /* digest_content() */
#endif
     known = read
  :: else ->
     mail = ledger[d].mail;
     retried = true
#ifdef BEGINS_AT_THE_CLAIM
     ; ledger[d].state = sending; ledger[d].attempts++
#endif
  fi fi fi fi
}

/* The database crashes, and the claim, which was committed lazily, is as if it had not been. Whatever is committed later
 * takes it along to the disk, so that this can only be what came last. */
inline forget_claim() {
  if
  :: ledger[d].claimed_by == claimant && !ledger[d].late ->
     ledger[d].state = before.state; ledger[d].claimed_by = before.claimed_by; ledger[d].attempts = before.attempts;
     ledger[d].leased = before.leased; ledger[d].late = before.late; ledger[d].unknown_at = before.unknown_at
  :: else
  fi
}

inline no_matter() {
  before.state = 0; before.claimed_by = 0; before.attempts = 0; before.leased = false; before.late = false;
  before.unknown_at = false
}

/* freeze_digest() */
#define held_by_claimant (ledger[d].claimed_by == claimant && ledger[d].state == reserved)
#if defined(FREEZES_OVER)
#define freezable (ledger[d].state != sent)
#elif defined(RENDERS_AGAIN)
#define freezable (held_by_claimant && !ledger[d].late)
#else
#define freezable (held_by_claimant && !ledger[d].late && (ledger[d].mail != 0) == retried)
#endif

inline freeze() {
  ledger[d].state = sending; ledger[d].attempts++;
  if
  :: !retried -> ledger[d].mail = mail
  :: else
  fi
}

/* digest_failed(): only whoever holds the claim can say; another one may have it after the lease. */
inline fail() {
  if
  :: ledger[d].claimed_by == claimant && (ledger[d].state == reserved || ledger[d].state == sending) ->
     if
     :: outcome == unknown -> ledger[d].unknown_at = true
     :: else
     fi;
     if
     :: outcome == rejected -> close(failed)
#if defined(HOLD) && !defined(HOLD_SENDS_AGAIN)
     :: outcome == unknown -> close(held)
#endif
     :: else -> if
     :: ledger[d].attempts >= ATTEMPTS -> close(failed)
     :: else -> close(reserved) /* to be tried again at next_attempt_at, which here may be any time */
     fi fi
  :: else
  fi
}

/* D prepare and sendOne, again and again. One that prepares a digest while another is on its way is two of these: a
 * claim has nothing to do with any other. */
proctype sender(byte me) {
  byte d, content, known, mail;
  bool retried;
  mtype outcome;
  digest before;
#ifdef CLAIMANT_IS_THE_WORKER
  byte claimant = (me < SENDERS - 1 -> 1 : 2);
#else
  byte claimant = me + 1; /* one for each claim, and a sender has one at a time */
#endif

idle:
  atomic {
    fate[d].hands = fate[d].hands & ~bit(me);
    d = 0; content = 0; known = 0; mail = 0; retried = false; outcome = 0; no_matter()
  };
end:
  if /* D prepare */
  :: d_step { claimable(0) -> d = 0; claim() }
  :: d_step { claimable(1) -> d = 1; claim() }
  fi;
  if
  :: content == 0 && !retried -> goto idle /* there was nothing to say; or the next one */
  :: else -> if
     :: d_step { no_matter() }
     :: trouble; d_step { forget_claim(); no_matter() }
     :: trouble -> goto idle               /* it was committed and the answer was lost, or the worker died */
     :: trouble; d_step {                  /* the worker is to stop; D release: release_digest() */
          if
          :: held_by_claimant -> close(reserved)
          :: else
          fi
        };
        goto idle
     fi
  fi;
  if
  :: content != 0 -> mail = rendered(me, content); content = 0 /* D compose */
  :: else
  fi;
#ifndef SENDS_BEFORE_IT_FREEZES
  if                                         /* D freeze: freeze_digest() */
#ifdef BEGINS_AT_THE_CLAIM
  :: retried
#endif
  :: d_step { freezable -> freeze() }
  :: d_step { !freezable -> outcome = 0 }; goto idle
  :: trouble; outcome = retry; goto report
  fi;
  if
  :: skip
  :: trouble; outcome = retry; goto report   /* it was committed and the answer was lost */
  :: trouble -> goto idle
  fi;
#endif

#ifdef CONFIRMS_FIRST
  d_step { close(sent) };
#endif
  /* D conn.Send */
  d_step {
    promise(LEDGER_FIRST, ledger[d].mail == mail);
    promise(SAME_BYTES, fate[d].bytes == 0 || fate[d].bytes == mail);
    promise(NOTHING_READ, (messages_of(mail) & known) == 0);
    fate[d].bytes = mail; mail = 0; known = 0
  };
  if
  :: outcome = retry                                       /* 4xx, or the connection broke before the last byte */
  :: d_step { outcome = rejected; fate[d].refused = true } /* 5xx */
  :: trouble; outcome = unknown                            /* broken after the last byte, and nothing was taken */
  :: trouble -> goto idle                                  /* the worker died */
  :: d_step {                                              /* 250 */
#ifdef HOLD
       promise(AT_MOST_ONCE, fate[d].accepted == 0);
#endif
       promise(UNKNOWN_IS_SAID, fate[d].accepted == 0 || ledger[d].unknown_at);
       promise(COPIES_HAVE_CAUSES, fate[d].accepted <= troubles);
       fate[d].accepted++
     };
     if
     :: goto confirm
     :: trouble; outcome = unknown                         /* the answer was lost */
     :: trouble -> goto idle                               /* the worker died */
     fi
  fi;
#ifdef TAKES_UNKNOWN_FOR_RETRY
  if
  :: outcome == unknown -> outcome = retry
  :: else
  fi;
#endif

report: /* D failed, D insist */
  if
  :: d_step { fail() }
  :: trouble -> goto idle
  fi;
  if
  :: goto idle
  :: trouble -> goto report /* it was committed and the answer was lost: it is said again */
  fi;

confirm: /* D sent, D insist: digest_sent(), whoever says so and however late */
  if
  :: d_step {
       ledger[d].state != sent ->
       close(sent)
     }
  :: ledger[d].state == sent
  :: trouble
  fi;
  goto idle
}

#define runs(d) (ledger[d].leased && !ledger[d].late)

/* Time. A lease that nobody works under any more runs out; one that somebody does is a misfortune. */
active proctype clock() {
end:
  do
  :: d_step { runs(0) && fate[0].hands == 0 -> ledger[0].late = true }
  :: d_step { runs(1) && fate[1].hands == 0 -> ledger[1].late = true }
  :: d_step { runs(0) && fate[0].hands != 0 && troubles < TROUBLES -> ledger[0].late = true; troubles++ }
  :: d_step { runs(1) && fate[1].hands != 0 && troubles < TROUBLES -> ledger[1].late = true; troubles++ }
  od
}

/* What there is to see when nothing moves any more. */
active proctype auditor() {
  timeout -> d_step {
    byte d;
    promise(NOTHING_IS_STUCK, !lock && (posted & ~read & ~ever) == 0);
    for (d : 0 .. MESSAGES - 1) {
      promise(NOTHING_IS_STUCK, ledger[d].state != reserved && ledger[d].state != sending);
      promise(ENDS_ARE_TRUE, ledger[d].state != sent || fate[d].accepted > 0);
      promise(ENDS_ARE_TRUE, ledger[d].state != read_before_sending || (ledger[d].items & ~read) == 0);
      promise(ENDS_ARE_TRUE, ledger[d].state != failed || fate[d].refused || ledger[d].attempts >= ATTEMPTS);
#ifdef HOLD
      promise(ENDS_ARE_TRUE, ledger[d].state != held || ledger[d].unknown_at)
#else
      promise(ENDS_ARE_TRUE, ledger[d].state != held)
#endif
    }
  }
}

init {
  atomic {
    byte i;
#ifdef RESERVED
    /* One digest about all the messages, to look closer at what becomes of it. */
    posted = bit(MESSAGES) - 1; mailed = posted; ever = posted;
    ledger[0].state = reserved; ledger[0].items = posted; digests = 1;
#endif
    run person();
#ifndef RESERVED
    run reserver(); run reserver();
#endif
    for (i : 0 .. SENDERS - 1) {
      run sender(i)
    }
  }
}
