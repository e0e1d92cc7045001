------------------------------- MODULE Raft -------------------------------
(***************************************************************************)
(* What ood.raft promises, as far as terms, votes, logs and commits go, for *)
(* a fixed set of nodes whose disks are slower than their memory.           *)
(*                                                                         *)
(* There are no messages here.  What a message would carry is looked up in  *)
(* history variables instead: who stood for election with which log, which  *)
(* votes are on disk, what the leader of a term had in its log, what each    *)
(* disk held in a term.  A step that some message allows is allowed at any   *)
(* later time too, so loss, delay, duplication and reordering need no words. *)
(*                                                                         *)
(* An entry is its term; (index, term) names it.                            *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS Node, None, MaxTerm

VARIABLES
  term, vote, role, log, commit,   \* what each node has in memory
  disk,                            \* what is durable: [term, vote, log]
  pending,                         \* saves under way, oldest first
  ledger,                          \* for each term: its leader's log
  candidacies,                     \* <<term, candidate, last term, last index>>
  votes,                           \* <<term, voter, candidate>>, durable ones
  kept,                            \* for each term and node: the log on disk then
  told                             \* for each term: what its leader committed

vars == <<term, vote, role, log, commit, disk, pending, ledger, candidacies,
          votes, kept, told>>
memory == <<term, vote, role, log, commit>>
history == <<ledger, candidacies, votes, kept, told>>

Term == 1..MaxTerm
Empty == [term |-> 0, vote |-> None, log |-> <<>>]
First == <<1>>                     \* every log begins with the configuration

Min(a, b) == IF a < b THEN a ELSE b
LastTerm(s) == IF s = <<>> THEN 0 ELSE s[Len(s)]
Prefix(s, n) == SubSeq(s, 1, n)
Agree(s, r, n) == n <= Len(s) /\ n <= Len(r) /\ Prefix(s, n) = Prefix(r, n)
UpToDate(lastTerm, lastIndex, s) ==
  \/ lastTerm > LastTerm(s)
  \/ lastTerm = LastTerm(s) /\ lastIndex >= Len(s)
Majority(S) == Cardinality(S) * 2 > Cardinality(Node)

Init ==
  /\ term = [i \in Node |-> 1]
  /\ vote = [i \in Node |-> None]
  /\ role = [i \in Node |-> "follower"]
  /\ log = [i \in Node |-> First]
  /\ commit = [i \in Node |-> 1]
  /\ disk = [i \in Node |-> Empty]
  /\ pending = [i \in Node |-> <<>>]
  /\ ledger = [t \in Term |-> <<>>]
  /\ candidacies = {}
  /\ votes = {}
  /\ kept = [t \in Term |-> [i \in Node |-> <<>>]]
  /\ told = [t \in Term |-> 0]

----------------------------------------------------------------------------
(* Elections *)

\* Somebody speaks of a newer term.
UpdateTerm(i, t) ==
  /\ role[i] # "down" /\ t > term[i]
  /\ term' = [term EXCEPT ![i] = t]
  /\ vote' = [vote EXCEPT ![i] = None]
  /\ role' = [role EXCEPT ![i] = "follower"]
  /\ UNCHANGED <<log, commit, disk, pending, history>>

\* A node stands for election (a pre-vote before it changes nothing).
Timeout(i) ==
  /\ role[i] \in {"follower", "candidate"} /\ term[i] < MaxTerm
  /\ term' = [term EXCEPT ![i] = @ + 1]
  /\ vote' = [vote EXCEPT ![i] = i]
  /\ role' = [role EXCEPT ![i] = "candidate"]
  /\ candidacies' = candidacies \cup {<<term[i] + 1, i, LastTerm(log[i]), Len(log[i])>>}
  /\ UNCHANGED <<log, commit, disk, pending, ledger, votes, kept, told>>

\* One vote in a term, for a log that lacks nothing this one has.
Grant(i, j) ==
  /\ role[i] = "follower" /\ vote[i] = None
  /\ \E c \in candidacies :
       c[1] = term[i] /\ c[2] = j /\ UpToDate(c[3], c[4], log[i])
  /\ vote' = [vote EXCEPT ![i] = j]
  /\ UNCHANGED <<term, role, log, commit, disk, pending, history>>

\* Durable votes of a majority.
Lead(i) ==
  /\ role[i] = "candidate"
  /\ Majority({v \in Node : <<term[i], v, i>> \in votes})
  /\ role' = [role EXCEPT ![i] = "leader"]
  /\ ledger' = [ledger EXCEPT ![term[i]] = log[i]]
  /\ told' = [told EXCEPT ![term[i]] = commit[i]]
  /\ UNCHANGED <<term, vote, log, commit, disk, pending, candidacies, votes, kept>>

StepDown(i) ==
  /\ role[i] \in {"candidate", "leader"}
  /\ role' = [role EXCEPT ![i] = "follower"]
  /\ UNCHANGED <<term, vote, log, commit, disk, pending, history>>

----------------------------------------------------------------------------
(* Replication *)

Request(i) ==
  /\ role[i] = "leader"
  /\ log' = [log EXCEPT ![i] = Append(@, term[i])]
  /\ ledger' = [ledger EXCEPT ![term[i]] = log'[i]]
  /\ UNCHANGED <<term, vote, role, commit, disk, pending, candidacies, votes, kept, told>>

\* Take the leader's log up to k, which the own one contradicts or lacks.
Accept(i, k) ==
  LET theirs == ledger[term[i]] IN
  /\ role[i] = "follower" /\ k \in 1..Len(theirs)
  /\ ~Agree(log[i], theirs, k)
  /\ Agree(log[i], theirs, commit[i]) /\ commit[i] <= k
  /\ log' = [log EXCEPT ![i] = Prefix(theirs, k)]
  /\ UNCHANGED <<term, vote, role, commit, disk, pending, history>>

\* Commit an entry of the own term that a majority has on disk, by what each
\* disk held in this term: whoever moved on has promised itself to another.
Advance(i, n) ==
  LET mine == ledger[term[i]] IN
  /\ role[i] = "leader" /\ n > commit[i] /\ n <= Len(mine)
  /\ mine[n] = term[i]
  /\ Majority({v \in Node : Agree(kept[term[i]][v], mine, n)})
  /\ commit' = [commit EXCEPT ![i] = n]
  /\ told' = [told EXCEPT ![term[i]] = n]
  /\ UNCHANGED <<term, vote, role, log, disk, pending, ledger, candidacies, votes, kept>>

\* Follow the leader's commit as far as the logs were compared.
Learn(i, n) ==
  /\ role[i] = "follower" /\ n > commit[i] /\ n <= told[term[i]]
  /\ Agree(log[i], ledger[term[i]], n)
  /\ commit' = [commit EXCEPT ![i] = n]
  /\ UNCHANGED <<term, vote, role, log, disk, pending, history>>

----------------------------------------------------------------------------
(* Disk and crashes *)

Issue(i) ==
  /\ role[i] # "down"
  /\ pending' = [pending EXCEPT ![i] =
       Append(@, [term |-> term[i], vote |-> vote[i], log |-> log[i]])]
  /\ UNCHANGED <<memory, disk, history>>

Save(i) ==
  /\ pending[i] # <<>>
  /\ LET write == Head(pending[i]) IN
     /\ disk' = [disk EXCEPT ![i] = write]
     /\ votes' = IF write.vote = None THEN votes
                 ELSE votes \cup {<<write.term, i, write.vote>>}
     /\ kept' = [kept EXCEPT ![write.term][i] = write.log]
  /\ pending' = [pending EXCEPT ![i] = Tail(@)]
  /\ UNCHANGED <<memory, ledger, candidacies, told>>

Crash(i) ==
  /\ role[i] # "down"
  /\ role' = [role EXCEPT ![i] = "down"]
  /\ pending' = [pending EXCEPT ![i] = <<>>]
  /\ UNCHANGED <<term, vote, log, commit, disk, history>>

\* Start with what the disk has; an empty one begins as on the first day.
Restart(i, n) ==
  LET found == IF disk[i] = Empty THEN [term |-> 1, vote |-> None, log |-> First]
               ELSE disk[i] IN
  /\ role[i] = "down" /\ n <= commit[i] /\ n <= Len(found.log)
  /\ role' = [role EXCEPT ![i] = "follower"]
  /\ term' = [term EXCEPT ![i] = found.term]
  /\ vote' = [vote EXCEPT ![i] = found.vote]
  /\ log' = [log EXCEPT ![i] = found.log]
  /\ commit' = [commit EXCEPT ![i] = n]
  /\ UNCHANGED <<disk, pending, history>>

Next ==
  \E i \in Node :
    \/ \E t \in Term : UpdateTerm(i, t)
    \/ Timeout(i)
    \/ \E j \in Node : Grant(i, j)
    \/ Lead(i) \/ StepDown(i) \/ Request(i)
    \/ \E k \in 1..Len(ledger[term[i]]) : Accept(i, k) \/ Advance(i, k) \/ Learn(i, k)
    \/ Issue(i) \/ Save(i) \/ Crash(i)
    \/ \E n \in {0, 1} : Restart(i, n)

Spec == Init /\ [][Next]_vars

----------------------------------------------------------------------------
(* Promises *)

OneLeader ==
  \A i, j \in Node :
    role[i] = "leader" /\ role[j] = "leader" /\ term[i] = term[j] => i = j

OneVote ==
  \A a, b \in votes : a[1] = b[1] /\ a[2] = b[2] => a[3] = b[3]

CommittedAgree ==
  \A i, j \in Node :
    LET n == Min(commit[i], commit[j]) IN
    role[i] # "down" /\ role[j] # "down" => Agree(log[i], log[j], n)

LeaderComplete ==
  \A i \in Node : role[i] = "leader" =>
    \A t \in Term : t < term[i] => Agree(log[i], ledger[t], told[t])

LogMatching ==
  \A i, j \in Node : \A n \in 1..Min(Len(log[i]), Len(log[j])) :
    log[i][n] = log[j][n] => Agree(log[i], log[j], n)
=============================================================================
