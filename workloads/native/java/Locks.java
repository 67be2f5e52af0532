import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/** Java threads as they stand. `Locks deadlock`: two threads in one monitor each, which want to enter the other's.
 *  `Locks idle`: pools with nothing to do. `ready` on stdout once all of it stands; ends when its stdin does. */
public class Locks {
    static final Object A = new Object(), B = new Object();
    static final CyclicBarrier BOTH = new CyclicBarrier(3);

    static void enter(Object first, Object second) {
        synchronized (first) {
            try {
                BOTH.await();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
            synchronized (second) {
                System.out.println("FAILED: nobody waits");
            }
        }
    }

    static void start(String name, Object first, Object second) {
        Thread thread = new Thread(() -> enter(first, second), name);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("deadlock")) {
            start("transfer-a", A, B);
            start("transfer-b", B, A);
            BOTH.await();
        } else {
            var fixed = Executors.newFixedThreadPool(4);
            for (int i = 0; i < 4; i++) {
                fixed.submit(() -> null).get();
            }
            var pool = new ForkJoinPool(3);
            pool.submit(() -> IntStream.range(0, 1_000).parallel().sum()).get();
            Executors.newScheduledThreadPool(1).schedule(() -> {}, 1, TimeUnit.HOURS);
        }
        System.out.println("ready");
        while (System.in.read() >= 0) {}
        System.exit(0);
    }
}
