# SPDX-License-Identifier: Apache-2.0
# DBD::Pg's part of a talk. Prints all that it gets, but pids.
# usage: talk_dbd.pl STATEMENTS   (the connection comes from PG* variables)
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async :pg_types);

my $dbh = DBI->connect('dbi:Pg:', '', undef, {AutoCommit => 1, PrintError => 0, RaiseError => 0, PrintWarn => 0});
die "no connection: $DBI::errstr\n" unless $dbh;
local $SIG{__WARN__} = sub { print "   notice ", @_ };
$dbh->{pg_errorlevel} = 2;
$dbh->{PrintWarn} = 1;

sub flat { my $v = shift; ref $v ? '[' . join(';', map { flat($_) } @$v) . ']' : $v // 'NULL' }

sub show {
  my ($text, $sth, $done) = @_;
  print 'run ', substr($text, 0, 200), "\n";
  if (!defined $done) {
    print '   failed ', $dbh->state, ' ', $dbh->errstr // '', "\n";
  } elsif ($sth && $sth->{NUM_OF_FIELDS}) {
    print '   fields ', join(',', @{$sth->{NAME}}), ' ', join(',', map { $_ // '?' } @{$sth->{pg_type}}), "\n";
    while (my $row = $sth->fetchrow_arrayref) {
      my $line = join('|', map { flat($_) } @$row);
      print '    ', length $line > 500 ? length($line) . ' ' . unpack('%32C*', $line) : $line, "\n";
    }
  } else {
    print "   rows $done\n";
  }
  while (my $n = $dbh->pg_notifies) { print "   notification $n->[0] '$n->[2]' ", $n->[1] == $dbh->{pg_pid} ? 'mine' : '', "\n" }
  print '   state ', $dbh->ping, "\n";
}

open my $file, '<', $ARGV[0] or die;
chomp(my @statements = grep { /\S/ } <$file>);  # DBD::Pg refuses an empty one itself
for my $prepare (0, 1) {
  $dbh->{pg_server_prepare} = $prepare;
  for my $text (@statements) {
    my $sth = $dbh->prepare($text, {pg_placeholder_dollaronly => 1, pg_prepare_now => 0});
    show($text, $sth, $sth ? $sth->execute : undef);
  }
}
show('do', undef, $dbh->do("insert into journal (entry) values ('by do')"));
my $sth = $dbh->prepare('select id, name, ?::text, ?::bytea from item where id < ?');
$sth->bind_param(2, "\x00\xff", {pg_type => PG_BYTEA});
for my $n (1 .. 4) {
  $sth->bind_param(1, $n == 3 ? undef : "it's $n");
  $sth->bind_param(3, $n);
  show('bound', $sth, $sth->execute);
}
$dbh->begin_work;
show('failing', undef, $dbh->do('select * from nowhere'));
show('after', undef, $dbh->do('select 1'));
$dbh->rollback;
$dbh->begin_work;
$dbh->pg_savepoint('s');
show('failing', undef, $dbh->do('select 1/0'));
$dbh->pg_rollback_to('s');
$dbh->commit;
$dbh->do('copy lines (a, b) from stdin');
$dbh->pg_putcopydata("$_\trow $_\n") for 1 .. 20;
print 'put end ', $dbh->pg_putcopyend, "\n";
$dbh->do('copy (select a, b from lines order by id) to stdout');
my $line = '';
print "copied $line" while $dbh->pg_getcopydata($line) >= 0;
$dbh->do('copy lines (a) from stdin');
$dbh->pg_putcopydata("no number\n");
print 'put end ', $dbh->pg_putcopyend // 'failed', ' ', $dbh->errstr // '', "\n";
$dbh->do('select pg_sleep(30)', {pg_async => PG_ASYNC});
select undef, undef, undef, 0.1;
print 'cancelled ', $dbh->pg_cancel, ' ', $dbh->errstr // '', "\n";
show('goes on', undef, $dbh->do('select 1'));
$dbh->disconnect;
